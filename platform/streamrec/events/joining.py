"""Outcomes joined to the impressions that they answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from streamrec.contracts.conventions import MAXIMUM_CLOCK_SKEW
from streamrec.contracts.events import Impression, Outcome


class Unjoined(StrEnum):
    """Why an outcome belongs to no impression."""

    NO_REQUEST_ID = "no_request_id"
    UNKNOWN_REQUEST = "unknown_request"
    OTHER_UNIT = "other_unit"
    ITEM_NOT_SHOWN = "item_not_shown"
    OUTSIDE_WINDOW = "outside_window"


@dataclass(frozen=True, slots=True)
class JoinedOutcome:
    """An outcome and what was shown.

    Attributes:
        impression: The answer it belongs to.
        position: Where the item stood, 0 for the first; None for an outcome that names no item.
        outcome: What the user did.
    """

    impression: Impression
    position: int | None
    outcome: Outcome


@dataclass(frozen=True)
class Join:
    """The result of a join. ``joined`` and ``unjoined`` together count every outcome.

    Attributes:
        joined: In the order of the outcomes.
        unjoined: Number of the others, by reason.
    """

    joined: tuple[JoinedOutcome, ...]
    unjoined: Mapping[Unjoined, int]


def join_outcomes(
    impressions: Iterable[Impression], outcomes: Iterable[Outcome], *, window: timedelta
) -> Join:
    """Join outcomes to impressions by request id, unit and item id.

    A client that chose an id of its own for its request may name that one: it counts among the requests of
    the same unit where no request has it as its own.

    An outcome counts from `MAXIMUM_CLOCK_SKEW` before its impression (the client's clock may lag) to
    ``window`` after it. One that fits several slates of its request belongs to the first by the name of the
    slot.

    Args:
        impressions: At most one for each unit, request id and slot, as in `EventSnapshot`.
        outcomes: At most one for each unit and event id.
        window: How long after an impression an outcome still belongs to it.
    """
    by_request: dict[str, list[Impression]] = {}
    by_client: dict[tuple[str, str], list[Impression]] = {}
    for impression in sorted(impressions, key=lambda shown: shown.slot):
        by_request.setdefault(impression.request_id, []).append(impression)
        if impression.client_request_id is not None:
            by_client.setdefault((impression.unit, impression.client_request_id), []).append(impression)
    joined: list[JoinedOutcome] = []
    unjoined: Counter[Unjoined] = Counter()
    for outcome in outcomes:
        shown = _answers(by_request, by_client, outcome)
        match = _match(shown, outcome, window)
        if isinstance(match, Unjoined):
            unjoined[match] += 1
        else:
            joined.append(match)
    return Join(tuple(joined), dict(unjoined))


def _answers(
    by_request: Mapping[str, Sequence[Impression]],
    by_client: Mapping[tuple[str, str], Sequence[Impression]],
    outcome: Outcome,
) -> Sequence[Impression]:
    if outcome.request_id is None:
        return ()
    answers = by_request.get(outcome.request_id, ())
    if any(shown.unit == outcome.unit for shown in answers):
        return answers
    return by_client.get((outcome.unit, outcome.request_id), answers)


def _match(
    impressions: Sequence[Impression], outcome: Outcome, window: timedelta
) -> JoinedOutcome | Unjoined:
    if outcome.request_id is None:
        return Unjoined.NO_REQUEST_ID
    if not impressions:
        return Unjoined.UNKNOWN_REQUEST
    impressions = [shown for shown in impressions if shown.unit == outcome.unit]
    if not impressions:
        return Unjoined.OTHER_UNIT
    item_id = outcome.item_id
    impressions = [shown for shown in impressions if item_id is None or item_id in shown.item_ids]
    if not impressions:
        return Unjoined.ITEM_NOT_SHOWN
    for shown in impressions:
        if -MAXIMUM_CLOCK_SKEW <= outcome.occurred_at - shown.predicted_at <= window:
            position = None if item_id is None else shown.item_ids.index(item_id)
            return JoinedOutcome(shown, position, outcome)
    return Unjoined.OUTSIDE_WINDOW
