"""Cases 17 to 19 of what the platform must survive: odd events, odd users, and a catalogue that is gone."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx

from services.recommendations.contracts.empty_slates import EmptyReason
from streamrec.contracts.items import Item
from streamrec.datasets.catalogue import Catalogue
from streamrec.events.reader import FileEventReader
from streamrec.items.item_log import FileItemLog
from streamrec.metrics.catalogue import parse_metrics
from streamrec.metrics.observations import Stretch
from streamrec.metrics.unit_rows import unit_rows
from tests.failures.parts import wait_until
from tests.failures.services import PATIENCE_S, BreakableService
from tests.integration.serving.asking import event, ids, metric, recommend, undegraded, verdicts

TEN_YEARS_S: Final = 10 * 365.25 * 86_400
HOUR_S: Final = 3_600.0
SEED: Final = 19
TIMES: Final = 10
LOOKS: Final = 10
"""Requests after which each of two gateways has been asked."""


def _somebody() -> str:
    return f"somebody-{uuid.uuid4().hex}"


def unknown_user_and_item(service: BreakableService) -> None:
    """Case 17: who is not known gets items, what is not known is set aside with the reason."""
    with service.client() as client:
        user_id = _somebody()
        answer = undegraded(client, user_id)
        assert answer["cold_start"]
        assert answer["empty_reason"] is None
        assert len(ids(answer)) == 10
        response = client.post("/v1/events", json={"events": [event(user_id, "no such item")]})
        assert response.status_code == 200
        assert [one["reason"] for one in response.json()["quarantined"]] == ["unknown_item"]


def everything_is_filtered(service: BreakableService) -> None:
    """Case 17: a user who dislikes all there is gets nothing, and the reason; the metric counts it."""
    with service.client() as client:
        user_id = _somebody()
        everything = service.workspace.dataset.catalogue.item_ids
        assert set(verdicts(client, *(event(user_id, item, "dislike") for item in everything))) == {
            "accepted"
        }
        before = counted(client, EmptyReason.EVERYTHING_FILTERED)
        answer = recommend(client, user_id)
        assert (ids(answer), answer["empty_reason"]) == ((), "everything_filtered")
        # Each gateway counts for itself, and any of them may be asked.
        wait_until(
            lambda: counted(client, EmptyReason.EVERYTHING_FILTERED) > before, 10.0, "the answer is counted"
        )


def catalogue_is_empty(service: BreakableService) -> None:
    """Case 17: every item is removed, and put again."""
    catalogue = service.workspace.dataset.catalogue
    log = FileItemLog(service.workspace.folder / "items")
    with service.client() as client:
        log.append(list(catalogue.item_ids))
        try:
            wait_until(
                lambda: all(
                    recommend(client, _somebody())["empty_reason"] == "empty_catalogue" for _ in range(LOOKS)
                ),
                10.0,
                "every gateway says that the catalogue is empty",
            )
            wait_until(
                lambda: metric(client, "streamrec_catalogue_items") == 0.0, 10.0, "the metric says so too"
            )
            for user_id in ("user-01", _somebody()):
                assert ids(recommend(client, user_id)) == ()
        finally:
            log.append(items_of(catalogue))
        wait_until(
            lambda: all(len(ids(recommend(client, _somebody()))) == 10 for _ in range(LOOKS)),
            PATIENCE_S,
            "items are recommended again",
        )


def items_of(catalogue: Catalogue) -> list[Item]:
    """The items of a catalogue as they are put into the log."""
    rows = zip(
        catalogue.item_ids,
        catalogue.titles,
        catalogue.creator_ids,
        catalogue.creator_languages,
        catalogue.topics,
        strict=True,
    )
    return [Item(*row, datetime(2023, 1, 1, tzinfo=UTC)) for row in rows]


def counted(client: httpx.Client, reason: EmptyReason) -> float:
    """Answers without items by reason; the most that any of several looks at a gateway shows."""
    name = f'streamrec_empty_answers_total{{reason="{reason.value}"}}'
    return max(metric(client, name) for _ in range(LOOKS))


def clocks_are_wrong(service: BreakableService) -> None:
    """Case 18: an event from the future is set aside, and a later correct one wins."""
    with service.client() as client:
        for off_s in (TEN_YEARS_S, HOUR_S):
            user_id = _somebody()
            item_id = ids(undegraded(client, user_id))[0]
            future = event(user_id, item_id, "play", in_s=off_s)
            response = client.post("/v1/events", json={"events": [future]}).json()
            assert [one["reason"] for one in response["quarantined"]] == ["future_dated"]
            assert item_id in ids(recommend(client, user_id, k=150))
            assert verdicts(client, event(user_id, item_id, "dislike")) == ["accepted"]
            assert item_id not in ids(recommend(client, user_id, k=150))
        # A clock that is an hour late tells of something that has happened.
        assert verdicts(client, event(_somebody(), item_id, in_s=-HOUR_S)) == ["accepted"]


def every_event_ten_times(service: BreakableService) -> None:
    """Case 19: state and metrics are the same, byte by byte, as after every event once and in order."""
    once, often = _somebody(), _somebody()
    with service.client() as client:
        stories = {user_id: story(service, user_id) for user_id in (once, often)}
        assert set(verdicts(client, *stories[once])) == {"accepted"}
        repeated = stories[often] * TIMES
        random.Random(SEED).shuffle(repeated)
        for start in range(0, len(repeated), 7):
            assert set(verdicts(client, *repeated[start : start + 7])) <= {"accepted", "duplicate"}
        expected = service.redis.values(once)
        wait_until(lambda: service.redis.values(often) == expected, 10.0, "both states are the same")
        # Nothing that is still under way changes it.
        time.sleep(0.5)
        assert service.redis.values(often) == expected
        assert not set(ids(recommend(client, often, k=150))) & {
            one["item_id"] for one in stories[often] if one["kind"] != "skip"
        }
    reader = FileEventReader(service.workspace.folder / "events")
    counted_once, counted_often = (statistics_of(reader, user_id) for user_id in (once, often))
    assert counted_once == counted_often
    assert counted_once["cases"] == len(stories[once])
    outcomes = reader.snapshot().outcomes
    logged = {user: sorted(o.event_id for o in outcomes if o.unit == user) for user in (once, often)}
    for user_id, events in stories.items():
        assert logged[user_id] == sorted(one["event_id"] for one in events)


def statistics_of(reader: FileEventReader, user_id: str) -> dict[str, float]:
    """What a metric of plays among all that users do keeps of one user's last day."""
    metric = parse_metrics(
        b"""
        metrics:
          play_share:
            owner: platform
            description: Plays among all that users do
            unit: share
            direction: higher_is_better
            aggregation: ratio
            of: {event: outcome, kinds: [play], joined: false}
            per: {event: outcome, kinds: [play, click, dislike, skip], joined: false}
        """
    ).metrics["play_share"]
    end = datetime.now(UTC)
    rows = unit_rows(metric, {}, reader, Stretch(end - timedelta(days=1), end), lambda _: False)
    (row,) = (row for row in rows.to_pylist() if row["unit"] == user_id)
    return {name: value for name, value in row.items() if name != "unit"}


def story(service: BreakableService, user_id: str) -> list[dict[str, Any]]:
    """What a user did, in order: the same for every user but for the ids of user and events."""
    began = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    items = service.workspace.dataset.catalogue.item_ids[:24]
    kinds: Sequence[str] = ("play", "click", "dislike", "skip")
    return [
        event(user_id, item_id, kinds[number % len(kinds)])
        | {"occurred_at": (began + timedelta(seconds=number)).isoformat()}
        for number, item_id in enumerate(items)
    ]
