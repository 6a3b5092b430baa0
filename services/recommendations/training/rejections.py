"""What users disliked, skipped and took back, as it was known when they were asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final, Self

import numpy as np
import pandas as pd

from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.contracts.known_user import known_user
from streamrec.contracts.conventions import HISTORY_LIMIT
from streamrec.contracts.events import InteractionKind
from streamrec.datasets.dataset import Dataset
from streamrec.features.user_actions import SKIPS_LIMIT, TimedItems, UserActivity, moment
from streamrec.training.lasting_interest import taken_back

Timed = tuple[int, str]
"""Microseconds since 1970, UTC, and an item."""


@dataclass
class _Actions:
    lasting_us: list[int] = field(default_factory=list)
    taken_back: list[Timed] = field(default_factory=list)
    disliked: list[Timed] = field(default_factory=list)
    skipped: list[Timed] = field(default_factory=list)


@dataclass(frozen=True)
class Rejections:
    """The users of a data set who disliked or skipped something, with the times of all that they did.

    Attributes:
        actions: By user id; each list in the order of time.
        end_us: When the data set ends.
    """

    actions: Mapping[str, _Actions]
    end_us: int

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Collect them; costs nothing where there are none."""
        negative = dataset.negative_interactions
        if negative.empty:
            return cls({}, 0)
        actions: dict[str, _Actions] = defaultdict(_Actions)
        dislikes = negative["event"] == InteractionKind.DISLIKE.value
        for disliked, (user_id, timed) in zip(dislikes, _timed(negative), strict=True):
            (actions[user_id].disliked if disliked else actions[user_id].skipped).append(timed)
        positive, back = dataset.positive_interactions, taken_back(dataset)
        theirs = positive["user_id"].isin(actions.keys()).to_numpy()
        for is_back, (user_id, timed) in zip(back[theirs], _timed(positive[theirs]), strict=True):
            if is_back:
                actions[user_id].taken_back.append(timed)
            else:
                actions[user_id].lasting_us.append(timed[0])
        return cls(dict(actions), int(_micros(dataset.interactions).max()))

    def state(self, user_id: str, segment: Segment, history: tuple[str, ...]) -> UserState:
        """Return what serving would know of the user who had this history.

        Args:
            user_id: Who.
            segment: Attributes.
            history: The first items of the user's sequence in `streamrec.training.splits.user_sequences`; the
                moment is that of the next one, or the end of the data.
        """
        acted = self.actions.get(user_id)
        if acted is None:
            return UserState(user_id, segment, history[-HISTORY_LIMIT:])
        length = len(history)
        is_held_out = length < len(acted.lasting_us)
        now_us = acted.lasting_us[length] if is_held_out else self.end_us
        before_us = now_us if is_held_out else now_us + 1

        def newest(actions: list[Timed], limit: int) -> TimedItems:
            kept = [action for action in actions if action[0] < before_us][-limit:]
            return TimedItems(tuple(item for _, item in kept), tuple(at for at, _ in kept))

        # What was taken back later was still history at the moment.
        seen = list(zip(acted.lasting_us[:length], history, strict=True))
        back = newest(acted.taken_back, len(acted.taken_back) or 1)
        seen += zip(back.times_us, back.item_ids, strict=True)
        seen.sort(key=itemgetter(0))
        seen = seen[-HISTORY_LIMIT:]
        activity = UserActivity(
            TimedItems(tuple(item for _, item in seen), tuple(at for at, _ in seen)),
            newest(acted.disliked, HISTORY_LIMIT),
            newest(acted.skipped, SKIPS_LIMIT),
        )
        return known_user(user_id, segment, activity, moment(now_us))


NO_REJECTIONS: Final = Rejections({}, 0)


def _timed(interactions: pd.DataFrame) -> Iterator[tuple[str, Timed]]:
    times = _micros(interactions).tolist()
    for user_id, item_id, at in zip(interactions["user_id"], interactions["item_id"], times, strict=True):
        yield str(user_id), (at, str(item_id))


def _micros(interactions: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    times = interactions["timestamp"].dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    micros: np.ndarray[tuple[int], np.dtype[np.int64]] = times.astype(np.int64)
    return micros
