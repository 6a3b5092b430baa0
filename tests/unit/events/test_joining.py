"""Which outcomes belong to which impressions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.events.joining import Unjoined, join_outcomes
from tests.made_events import NOON, an_impression

WINDOW = timedelta(hours=1)

IMPRESSION = an_impression(request_id="r1", unit="u1", predicted_at=NOON, item_ids=("a", "b", "c"))
OUTCOME = Outcome("e1", "u1", "b", InteractionKind.CLICK, NOON + timedelta(minutes=1), NOON, "r1")


def test_an_outcome_finds_its_impression_and_its_position():
    (joined,) = join_outcomes([IMPRESSION], [OUTCOME], window=WINDOW).joined
    assert (joined.impression, joined.position, joined.outcome) == (IMPRESSION, 1, OUTCOME)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"request_id": None}, Unjoined.NO_REQUEST_ID),
        ({"request_id": "r2"}, Unjoined.UNKNOWN_REQUEST),
        ({"unit": "u2"}, Unjoined.OTHER_UNIT),
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


def test_an_outcome_without_an_item_belongs_to_the_whole_slate():
    (joined,) = join_outcomes([IMPRESSION], [replace(OUTCOME, item_id=None)], window=WINDOW).joined
    assert (joined.impression, joined.position) == (IMPRESSION, None)


def test_of_two_slates_of_one_request_the_one_that_showed_the_item_is_found():
    other = replace(IMPRESSION, slot="ads.auction", item_ids=("x", "b", "y"))
    for impressions in ([IMPRESSION, other], [other, IMPRESSION]):
        outcomes = [replace(OUTCOME, item_id=item_id) for item_id in ("c", "x", "b", "z")]
        join = join_outcomes(impressions, outcomes, window=WINDOW)
        assert [joined.impression for joined in join.joined] == [IMPRESSION, other, other]
        assert join.unjoined == {Unjoined.ITEM_NOT_SHOWN: 1}


def test_a_request_may_be_named_as_its_client_called_it():
    mine = replace(IMPRESSION, request_id="server-1", client_request_id="r1")
    others = replace(IMPRESSION, request_id="r1", unit="u2")
    foreign = replace(IMPRESSION, request_id="server-2", unit="u3", client_request_id="r1")
    for impressions in ([mine, others, foreign], [foreign, others, mine]):
        join = join_outcomes(impressions, [OUTCOME], window=WINDOW)
        assert [joined.impression for joined in join.joined] == [mine]
