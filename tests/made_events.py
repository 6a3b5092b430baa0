"""Events as tests want them: whole, with what a test cares about changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from streamrec.contracts.events import (
    Exposure,
    Impression,
    InteractionKind,
    Label,
    Outcome,
    Prediction,
    Propensity,
)
from streamrec.contracts.slots import ServingRole

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_prediction(number: int = 1, **changes) -> Prediction:
    fields = {
        "request_id": f"r{number}",
        "unit": f"post-{number}",
        "slot": "moderation.text",
        "role": ServingRole.CHAMPION,
        "version": "moderation-text@2",
        "predicted_at": NOON + timedelta(seconds=number),
        "output": {"violates_policy": 0.25},
    }
    return Prediction(**(fields | changes))


def an_impression(number: int = 1, **changes) -> Impression:
    item_ids = changes.get("item_ids", ("a", "b"))
    fields = {
        "request_id": f"r{number}",
        "unit": f"u{number % 7}",
        "slot": "search.ranking",
        "role": ServingRole.CHAMPION,
        "version": "search-ranking@3",
        "predicted_at": NOON + timedelta(seconds=number),
        "item_ids": item_ids,
        "scores": tuple(float(-position) for position in range(len(item_ids))),
        "versions": {"search.ranking": "search-ranking@3"},
        "propensity": Propensity.certain(len(item_ids)),
        "variants": {"colour": "blue"},
    }
    return Impression(**(fields | changes))


def an_exposure(number: int = 1, **changes) -> Exposure:
    fields = {
        "unit": f"u{number % 7}",
        "experiment": "search-colour",
        "variant": "blue",
        "at": NOON + timedelta(seconds=number),
    }
    return Exposure(**(fields | changes))


def an_outcome(number: int = 1, **changes) -> Outcome:
    moment = NOON + timedelta(seconds=number)
    fields = {
        "event_id": f"e{number}",
        "unit": f"u{number % 7}",
        "item_id": "a",
        "kind": InteractionKind.CLICK,
        "occurred_at": moment,
        "received_at": moment,
        "request_id": f"r{number}",
        "value": None,
    }
    return Outcome(**(fields | changes))


def a_label(number: int = 1, **changes) -> Label:
    moment = NOON + timedelta(days=1, seconds=number)
    fields = {
        "subject": f"post-{number}",
        "name": "violates_policy",
        "value": True,
        "at": moment,
        "received_at": moment,
    }
    return Label(**(fields | changes))
