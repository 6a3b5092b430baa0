from __future__ import annotations

import json

import pytest

from services.recommendations.gateway.recent_events import RecentEvents
from services.recommendations.gateway.schemas import EventIn
from streamrec.events.records import QuarantineReason
from tests.unit.gateway.service import event


def sent(**changes) -> EventIn:
    return EventIn.model_validate_json(json.dumps(event(**changes)))


def test_it_is_bounded_and_forgets_the_oldest():
    recent = RecentEvents(3)
    for number in range(5):
        recent.remember(sent(event_id=f"e{number}"), None)
    known = [recent.verdict_on(sent(event_id=f"e{number}")) is not None for number in range(5)]
    assert known == [False, False, True, True, True]


def test_what_counts_stays_as_it_was_sent_first():
    recent = RecentEvents(3)
    recent.remember(sent(), None)
    assert recent.verdict_on(sent(item_id="other")).reason is None


@pytest.mark.parametrize(
    ("reason", "changes", "looked_at_anew"),
    [
        (QuarantineReason.FUTURE_DATED, {}, False),
        (QuarantineReason.FUTURE_DATED, {"item_id": "other"}, True),
        (QuarantineReason.UNKNOWN_ITEM, {}, True),
    ],
)
def test_what_was_set_aside_may_be_corrected(reason, changes, looked_at_anew):
    recent = RecentEvents(3)
    recent.remember(sent(), reason)
    assert (recent.verdict_on(sent(**changes)) is None) is looked_at_anew
    assert recent.is_set_aside(sent(**changes)) is (not changes)


def test_it_needs_room_for_one():
    with pytest.raises(ValueError, match="room"):
        RecentEvents(0)


def test_what_is_known_of_an_erased_user_is_forgotten():
    recent = RecentEvents(3)
    recent.remember(sent(), None)
    recent.remember(sent(user_id="other"), None)
    recent.forget(lambda user_id: user_id == "known")
    assert recent.verdict_on(sent()) is None
    assert recent.verdict_on(sent(user_id="other")) is not None
