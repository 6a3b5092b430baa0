"""Training examples: every interaction is a target, what came before it is the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.errors import InvalidInputError
from streamrec.training.splits import UserHistories


@dataclass(frozen=True)
class NextItemExamples:
    """One example per interaction, the first of a user included: its history is empty.

    Attributes:
        items: Shape (n,), int64: catalogue row of each interaction, users one after the other.
        users: Shape (n,), int32: row of each interaction's user.
        starts: Shape (n,), int64: where that user's interactions begin.
    """

    items: NDArray[np.int64]
    users: NDArray[np.int32]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, train: UserHistories) -> Self:
        """Take every interaction of ``train``.

        Raises:
            InvalidInputError: There is none.
        """
        if train.items.size == 0:
            raise InvalidInputError("split.train", "has no interactions: there is nothing to train on")
        return cls(train.items.astype(np.int64), train.users, train.offsets[:-1][train.users])

    def __len__(self) -> int:
        return len(self.items)

    def histories(self, examples: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """Shape (b, length): the items before each example, newest first; -1 where there are no more."""
        positions = examples[:, None] - 1 - np.arange(length)
        return np.where(positions >= self.starts[examples, None], self.items[np.maximum(positions, 0)], -1)

    def target_shares(self, item_count: int) -> NDArray[np.float64]:
        """Shape (item_count,): share of the examples that each item is the target of."""
        counts = np.bincount(self.items, minlength=item_count)
        return counts / len(self)
