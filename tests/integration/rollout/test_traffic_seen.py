from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from streamrec.contracts.errors import NotFoundError
from streamrec.contracts.events import InteractionKind
from streamrec.metrics.catalogue import platform_catalogue
from streamrec.rollout.driving.traffic_seen import seen_in_log
from tests.made_events import a_prediction, an_impression, an_outcome
from tests.unit.metrics.workplace import a_source, memory_log

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
NAMES = {"search.ranking": "search-ranking@3", "search.retrieval": "towers@1"}


def the_log():
    """Ten days with 20 slates each, every fourth of them clicked, and three predictions of another spoke."""
    records = []
    for day in range(10):
        begins = MONDAY + timedelta(days=day)
        for number in range(20):
            at, key = begins + timedelta(hours=1, minutes=number), day * 100 + number
            records.append(an_impression(key, unit=f"u{number}", predicted_at=at, versions=NAMES))
            if number % 4 == 0:
                records.append(
                    an_outcome(
                        event_id=f"e{key}",
                        unit=f"u{number}",
                        kind=InteractionKind.CLICK,
                        item_id="a",
                        request_id=f"r{key}",
                        occurred_at=at + timedelta(minutes=1),
                        received_at=at + timedelta(minutes=1),
                    )
                )
        records += [
            a_prediction(day * 100 + 50 + number, predicted_at=begins + timedelta(hours=2, minutes=number))
            for number in range(3)
        ]
    return a_source(memory_log(records))


@pytest.fixture(scope="module")
def log():
    return the_log()


@pytest.mark.parametrize(
    ("slot", "per_day"),
    [("search.ranking", 20.0), ("search.retrieval", 20.0), ("moderation.text", 3.0), ("search.other", 0.0)],
)
def test_requests_of_a_slot_a_day(log, slot, per_day):
    now = MONDAY + timedelta(days=9, hours=3)
    seen = seen_in_log(platform_catalogue(), log, slot, None, now)
    assert (seen.requests_per_day, seen.days, seen.moments) == (per_day, 7.0, None)


def test_the_outcome_is_that_of_the_finished_days_that_there_are(log):
    seen = seen_in_log(
        platform_catalogue(), log, "search.ranking", "click_rate", MONDAY + timedelta(days=3, hours=23)
    )
    assert seen.days == 3.0
    assert seen.moments is not None
    assert (seen.moments.x, seen.moments.y, seen.moments.units) == (15.0, 60.0, 20)
    with pytest.raises(NotFoundError):
        seen_in_log(platform_catalogue(), log, "search.ranking", "click_rates", MONDAY + timedelta(days=3))


def test_a_log_without_a_finished_day_says_nothing(log):
    seen = seen_in_log(platform_catalogue(), log, "search.ranking", "click_rate", MONDAY + timedelta(hours=9))
    assert (seen.requests_per_day, seen.days, seen.moments) == (0.0, 0.0, None)
