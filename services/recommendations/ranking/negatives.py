"""The negatives of a training step, and the softmax loss that they estimate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from services.recommendations.ranking.settings import OptimisationSettings


@dataclass(frozen=True)
class NegativeSampler:
    """Draws negatives from a mixture of popularity and the uniform distribution (Yang et al. 2020).

    Attributes:
        cumulative_shares: Shape (n,): running sum of the items' shares of the targets.
        log_expected_counts: Shape (n,), float32: log of how often each item is expected in one draw; 0 where
            the whole catalogue is taken.
        settings: How many of each kind.
    """

    cumulative_shares: NDArray[np.float64]
    log_expected_counts: NDArray[np.float32]
    settings: OptimisationSettings

    @classmethod
    def of(cls, target_counts: NDArray[np.int64], settings: OptimisationSettings) -> Self:
        """Build from how often each item is a target."""
        shares = target_counts / max(1, int(target_counts.sum()))
        expected = settings.popular_negative_count * shares + settings.uniform_negative_count / len(
            target_counts
        )
        if len(target_counts) <= settings.full_softmax_items:
            expected = np.ones(len(target_counts))
        return cls(np.cumsum(shares), np.log(expected).astype(np.float32), settings)

    def draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Shape (m,): item rows, with repeats; every item once where the catalogue is taken whole."""
        item_count = len(self.cumulative_shares)
        if item_count <= self.settings.full_softmax_items:
            return np.arange(item_count, dtype=np.int64)
        places = np.searchsorted(
            self.cumulative_shares, rng.random(self.settings.popular_negative_count), side="right"
        )
        popular = np.minimum(places, item_count - 1)
        uniform = rng.integers(item_count, size=self.settings.uniform_negative_count)
        return np.concatenate((popular, uniform)).astype(np.int64)


def first_positions(inputs: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.int64]:
    """Shape (b, m): where each of some items first stands in each row; the length where it does not.

    Seen items are filtered from every answer, so a user should not pay for liking them: a negative does not
    count from that position on.

    Args:
        inputs: Shape (b, length), item rows, negative where there is none.
        items: Shape (m,), item rows; may hold repeats.
    """
    batch, length = inputs.shape
    distinct, place = np.unique(items, return_inverse=True)
    columns = np.minimum(np.searchsorted(distinct, inputs), distinct.size - 1)
    # An item that is not asked for goes to a column of its own, the last, which nobody reads.
    columns = np.where(distinct[columns] == inputs, columns, distinct.size)
    first = np.full((batch, distinct.size + 1), length, dtype=np.int64)
    rows = np.arange(batch)
    for position in range(length - 1, -1, -1):
        first[rows, columns[:, position]] = position
    return first[:, place]


class RejectedVectors(NamedTuple):
    """Items that the users of t targets had rejected before.

    Attributes:
        vectors: Shape (t, r, d).
        log_weights: Shape (t, r): log of how many times more each counts; minus infinity where there is none.
    """

    vectors: Tensor
    log_weights: Tensor


def sampled_softmax_loss(
    users: Tensor,
    targets: Tensor,
    negatives: Tensor,
    log_expected_counts: Tensor,
    not_negative: Tensor,
    temperature: float,
    rejected: RejectedVectors | None = None,
) -> Tensor:
    """Mean cross entropy of the targets over the catalogue, estimated from shared negatives.

    A negative i stands in the normaliser with s_i / temperature - log q_i, where q_i is how often it is
    expected among the negatives, so that the normaliser estimates the full softmax's (Bengio and Senecal
    2008, eq. 6; the logQ correction). The target is always there, once: nothing is subtracted from it.

    Args:
        users: Shape (t, d).
        targets: Shape (t, d), item vectors.
        negatives: Shape (m, d), item vectors.
        log_expected_counts: Shape (m,), log q of the negatives.
        not_negative: Shape (t, m), true where a negative does not count: the target itself, or a seen item.
        temperature: Of the softmax.
        rejected: What each target's user had rejected: it stands in the normaliser once more for each of its
            weight.
    """
    positive = (users * targets).sum(dim=1) / temperature
    negative = torch.addmm(-log_expected_counts, users, negatives.T, alpha=1.0 / temperature)
    negative = negative.masked_fill(not_negative, -torch.inf)
    logits = torch.cat([positive[:, None], negative], dim=1)
    if rejected is not None:
        more = torch.einsum("td,trd->tr", users, rejected.vectors) / temperature + rejected.log_weights
        logits = torch.cat([logits, more], dim=1)
    return functional.cross_entropy(logits, torch.zeros(len(users), dtype=torch.int64, device=users.device))
