"""Actions in the order of time, whatever the order in which they arrive and however often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np

from streamrec.contracts.conventions import HISTORY_LIMIT
from streamrec.contracts.events import InteractionKind
from streamrec.features.user_actions import (
    SKIPS_LIMIT,
    TimedItems,
    UserAction,
    UserActivity,
    microseconds,
    moment,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def action(item_id: str, minutes: float, kind: InteractionKind = InteractionKind.PLAY) -> UserAction:
    return UserAction(item_id, kind, NOON + timedelta(minutes=minutes))


def test_a_late_action_stands_where_its_time_says():
    activity = UserActivity().with_actions([action("now", 0)])
    activity = activity.with_actions([action("old", -30 * 24 * 60)])
    assert activity.history.item_ids == ("old", "now")
    assert activity.history.newest_at == NOON


def test_neither_order_nor_repetition_of_the_writes_matters():
    rng = np.random.default_rng(7)
    kinds = list(InteractionKind)
    actions = [action(f"i{rng.integers(20)}", n, kinds[rng.integers(len(kinds))]) for n in range(200)]
    expected = UserActivity().with_actions(actions)
    for _ in range(20):
        activity = UserActivity()
        for start in range(0, len(actions), 9):
            shuffled = rng.permutation(len(actions))[: start + 9]
            activity = activity.with_actions(actions[n] for n in shuffled)
        activity = activity.with_actions(actions)
        assert activity == expected


def test_each_kind_has_its_own_place_and_bound():
    plays = [action(f"p{n}", n) for n in range(HISTORY_LIMIT + 5)]
    skips = [action(f"s{n}", n, InteractionKind.SKIP) for n in range(SKIPS_LIMIT + 5)]
    dislike = action("d", -1000, InteractionKind.DISLIKE)
    activity = UserActivity().with_actions([dislike, *skips, *plays])
    assert activity.disliked.item_ids == ("d",)
    assert (len(activity.history), activity.history.item_ids[0]) == (HISTORY_LIMIT, "p5")
    assert (len(activity.skipped), activity.skipped.item_ids[0]) == (SKIPS_LIMIT, "s5")


def test_what_is_there_stands_first_among_equal_times():
    there = TimedItems(("z",), (microseconds(NOON),))
    added = [(microseconds(NOON), item) for item in ("b", "a", "z")]
    assert there.with_items(added, 9).item_ids == ("z", "a", "b")


def test_times_are_exact_in_any_zone():
    tokyo = timezone(timedelta(hours=9))
    at = datetime(2026, 11, 1, 6, 30, 0, 123457, tzinfo=UTC)  # a time that New York has twice
    assert microseconds(at.astimezone(tokyo)) == microseconds(at)
    assert moment(microseconds(at)) == at
