"""Explicit negatives: what the user of a training example had disliked or skipped before it.

In the softmax of the example such an item stands a few times more than others, so that a list which has it at
the top costs more; to first order that is the loss of Wang et al. 2023 ("Learning from negative user
feedback"), which pushes an item down by the probability that the model gives it. Nothing is drawn at random:
the newest few of each kind count, so a data set without dislikes and skips trains the very same model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.events import InteractionKind
from streamrec.datasets.dataset import Dataset
from streamrec.training.splits import UserHistories


@dataclass(frozen=True, slots=True)
class RejectionSettings:
    """How much a rejected item counts in the loss of its user's examples.

    Attributes:
        dislike_weight: How many times more a disliked item stands in the softmax; 0 for not at all.
        skip_weight: The same of one skip. It says less: what was skipped may only have come at a bad moment.
        newest_count: How many of the newest dislikes, and of the newest skips, count in an example.
    """

    dislike_weight: float = 10.0
    skip_weight: float = 1.0
    newest_count: int = 8

    def __post_init__(self) -> None:
        for name in ("dislike_weight", "skip_weight"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise InvalidInputError(f"rejections.{name}", "must be 0 or more, and finite")
        if self.newest_count < 1:
            raise InvalidInputError("rejections.newest_count", "must be 1 or more")


@dataclass(frozen=True)
class RejectedItems:
    """The rejected items of b examples.

    Attributes:
        items: Shape (b, r), int64: catalogue rows; -1 where there is none.
        log_weights: Shape (b, r), float32: log of how many times more each of them counts; minus infinity
            where there is none.
    """

    items: NDArray[np.int64]
    log_weights: NDArray[np.float32]


@dataclass(frozen=True)
class _Kind:
    """Dislikes alone, or skips alone.

    Attributes:
        items: Shape (m,), int64: catalogue rows, users one after the other, oldest first.
        starts: Shape (n,), int64: for each train interaction, where its user's rejections begin.
        ends: Shape (n,), int64: where those begin that were not known before it.
        weight: See `RejectionSettings`.
    """

    items: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    weight: float

    def newest(self, examples: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Shape (b, at most ``count``): newest first, -1 where there are no more."""
        starts, ends = self.starts[examples], self.ends[examples]
        width = min(count, int((ends - starts).max(initial=0)))
        places = ends[:, None] - 1 - np.arange(width)
        return np.where(places >= starts[:, None], self.items[np.maximum(places, 0)], -1)


@dataclass(frozen=True)
class KnownRejections:
    """What was rejected before each interaction of some train sequences.

    Attributes:
        kinds: Those of which there are any.
        newest_count: See `RejectionSettings`.
    """

    kinds: Sequence[_Kind]
    newest_count: int

    @classmethod
    def of(cls, dataset: Dataset, sequences: UserHistories, settings: RejectionSettings) -> Self:
        """Collect those of the users of ``sequences``.

        A rejection is known to the interactions of a later second, never to earlier ones. It is left out
        where the user takes the item up in ``sequences``: then it is a target, or seen. What is held out has
        no say in that.
        """
        negative = dataset.negative_interactions
        weights = {
            InteractionKind.DISLIKE.value: settings.dislike_weight,
            InteractionKind.SKIP.value: settings.skip_weight,
        }
        kinds = [
            _kind(negative[negative["event"] == event], dataset.catalogue.item_ids, sequences, weight)
            for event, weight in weights.items()
            if weight > 0.0 and not negative.empty
        ]
        return cls([kind for kind in kinds if kind.items.size], settings.newest_count)

    def before(self, examples: NDArray[np.int64]) -> RejectedItems:
        """What counts in some examples; no column at all where there is nothing.

        Args:
            examples: Shape (b,): places of their targets in `UserHistories.items`.
        """
        items, log_weights = np.empty((len(examples), 0), np.int64), np.empty((len(examples), 0), np.float32)
        for kind in self.kinds:
            more = kind.newest(examples, self.newest_count)
            logs = np.where(more >= 0, math.log(kind.weight), -math.inf).astype(np.float32)
            items, log_weights = np.hstack((items, more)), np.hstack((log_weights, logs))
        return RejectedItems(items, log_weights)


NO_KNOWN_REJECTIONS: Final = KnownRejections((), 1)


def _kind(
    rejections: pd.DataFrame, item_ids: tuple[str, ...], sequences: UserHistories, weight: float
) -> _Kind:
    """The rejections, in the order of time, of items that their users never take up in ``sequences``."""
    users = pd.Index(sequences.user_ids).get_indexer(pd.Index(rejections["user_id"])).astype(np.int64)
    items = pd.Index(item_ids).get_indexer(pd.Index(rejections["item_id"])).astype(np.int64)
    seconds = rejections["timestamp"].dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)
    taken_up = sequences.users.astype(np.int64) * len(item_ids) + sequences.items
    kept = np.flatnonzero((users >= 0) & (items >= 0) & ~np.isin(users * len(item_ids) + items, taken_up))
    kept = kept[np.argsort(users[kept], kind="stable")]
    users, items, seconds = users[kept], items[kept], seconds[kept]
    # One number that sorts by user and then by time.
    first = min(seconds.min(initial=0), sequences.timestamps.min(initial=0))
    span = max(seconds.max(initial=0), sequences.timestamps.max(initial=0)) - first + 1
    ends = np.searchsorted(
        users * span + (seconds - first),
        sequences.users.astype(np.int64) * span + (sequences.timestamps - first),
    )
    return _Kind(items, np.searchsorted(users, sequences.users), ends, weight)
