"""From what is kept of a user's actions to the `UserState` that every stage sees: in serving, in training and
in evaluation alike, so that they cannot read the same actions differently.

The last word counts. Interest in an item that the user disliked at the same time or later is taken back: it
is no part of the history. A skip that the user's interest in the item followed is answered: it lowers
nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from services.recommendations.contracts.candidates import Segment, UserState
from streamrec.features.user_actions import TimedItems, UserActivity, microseconds

_HOUR_US: Final = 3_600_000_000


def known_user(user_id: str, segment: Segment, activity: UserActivity, now: datetime) -> UserState:
    """Return the state of a user at a moment.

    Args:
        user_id: Who.
        segment: What else is known.
        activity: What the user did; nothing of it after ``now``, but for clocks that differ a little.
        now: When is asked; with a time zone. Ages of skips are counted from it, in whole hours.
    """
    history, skipped = activity.history, activity.skipped
    if activity.disliked:
        disliked_at = _newest(activity.disliked)
        history = _kept(history, [at > disliked_at.get(item, -1) for item, at in _pairs(history)])
    if skipped:
        wanted_at = _newest(activity.history)
        skipped = _kept(skipped, [at > wanted_at.get(item, -1) for item, at in _pairs(skipped)])
    now_us = microseconds(now)
    return UserState(
        user_id,
        segment,
        history.item_ids,
        disliked=activity.disliked.item_ids,
        skipped=skipped.item_ids,
        skip_ages_hours=tuple(max(0, now_us - at) // _HOUR_US for at in skipped.times_us),
    )


def _pairs(items: TimedItems) -> zip[tuple[str, int]]:
    return zip(items.item_ids, items.times_us, strict=True)


def _newest(items: TimedItems) -> dict[str, int]:
    """When each item last stands there; the times do not fall."""
    return dict(_pairs(items))


def _kept(items: TimedItems, kept: list[bool]) -> TimedItems:
    if all(kept):
        return items
    pairs = [pair for pair, keep in zip(_pairs(items), kept, strict=True) if keep]
    return TimedItems(tuple(item for item, _ in pairs), tuple(at for _, at in pairs))
