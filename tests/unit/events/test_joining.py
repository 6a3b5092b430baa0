"""Which outcomes belong to which impressions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from streamrec.contracts.events import EventKind, Impression, Outcome, Rung
from streamrec.events.joining import Unjoined, join_outcomes

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = timedelta(hours=1)

IMPRESSION = Impression(
    "r1", "u1", NOON, ("a", "b", "c"), (3.0, 2.0, 1.0), (1.0, 1.0, 1.0), {}, Rung.RANKED, False, 9.0
)
OUTCOME = Outcome("e1", "u1", "b", EventKind.CLICK, NOON + timedelta(minutes=1), NOON, "r1")


def test_an_outcome_finds_its_impression_and_its_position():
    (joined,) = join_outcomes([IMPRESSION], [OUTCOME], window=WINDOW).joined
    assert (joined.impression, joined.position, joined.outcome) == (IMPRESSION, 1, OUTCOME)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"request_id": None}, Unjoined.NO_REQUEST_ID),
        ({"request_id": "r2"}, Unjoined.UNKNOWN_REQUEST),
        ({"user_id": "u2"}, Unjoined.OTHER_USER),
        ({"item_id": "z"}, Unjoined.ITEM_NOT_SHOWN),
        ({"occurred_at": NOON + WINDOW + timedelta(microseconds=1)}, Unjoined.OUTSIDE_WINDOW),
        ({"occurred_at": NOON - timedelta(minutes=6)}, Unjoined.OUTSIDE_WINDOW),
    ],
)
def test_what_does_not_belong_is_counted_by_reason(changes, reason):
    join = join_outcomes([IMPRESSION], [OUTCOME, replace(OUTCOME, **changes)], window=WINDOW)
    assert len(join.joined) == 1
    assert join.unjoined == {reason: 1}


@pytest.mark.parametrize("moment", [NOON - timedelta(minutes=5), NOON, NOON + WINDOW])
def test_the_ends_of_the_window_belong_to_it(moment):
    join = join_outcomes([IMPRESSION], [replace(OUTCOME, occurred_at=moment)], window=WINDOW)
    assert len(join.joined) == 1
