"""Hard negatives: items that the last epoch's model would show a user who has not taken them up.

They are drawn on top of the other negatives and corrected for it like those (`sampled_softmax_loss`): the
loss still estimates the full softmax without bias, but the items that weigh most in its denominator are
looked at more often; the larger the catalogue, the more that is worth. It is importance sampling with an
adaptive proposal (Bengio and Senecal 2008), here the index itself (as in ANCE, Xiong et al. 2021, which does
not correct).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.retrieval.model import TwoTowerRetriever
from streamrec.training.splits import UserHistories


@dataclass(frozen=True)
class HardNegatives:
    """Each user's window: the best items of an earlier model, without those of the user's train history.

    Attributes:
        windows: Shape (users, w), int64: catalogue rows; -1 where a user has none, or fewer.
        count: Draws per example, uniform over the window and with replacement.
    """

    windows: NDArray[np.int64]
    count: int

    @property
    def expected_count(self) -> float:
        """How often an item of a user's window is expected among that user's draws."""
        width: int = self.windows.shape[1]
        return self.count / width

    @classmethod
    def none(cls, user_count: int, width: int, count: int) -> Self:
        """Nothing mined yet: draws are all absent."""
        return cls(np.full((user_count, width), -1, dtype=np.int64), count)

    @classmethod
    def mine(
        cls,
        retriever: TwoTowerRetriever,
        train: UserHistories,
        segments: Sequence[Segment],
        *,
        width: int,
        count: int,
        maximum_users: int,
        rng: np.random.Generator,
    ) -> Self:
        """Search the index for every user, or for ``maximum_users`` drawn at random.

        Args:
            retriever: Its rows are those of the catalogue that ``train`` names.
            train: What users did.
            segments: One for each user of ``train``.
            width: Of the window.
            count: Draws per example.
            maximum_users: Bounds the time; the other users have no hard negatives this epoch.
            rng: Chooses the users.
        """
        mined = cls.none(len(train), width, count)
        users = np.arange(len(train))
        if len(users) > maximum_users:
            users = rng.choice(users, size=maximum_users, replace=False)
        item_ids = retriever.index.item_ids
        for user in users.tolist():
            rows = train.of(user)
            state = UserState(
                train.user_ids[user], segments[user], tuple(item_ids[row] for row in rows.tolist())
            )
            found, _ = retriever.index.search_rows(retriever.user_vector(state), width, np.unique(rows))
            mined.windows[user, : len(found)] = found
        return mined

    def draw(self, users: NDArray[np.int32], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw for some examples.

        Returns:
            The examples' windows, shape (b, w), and the draws, shape (b, count); -1 where there is no item.
        """
        windows = torch.from_numpy(self.windows[users])
        places = torch.randint(windows.shape[1], (len(users), self.count), generator=generator)
        return windows, windows.gather(1, places)
