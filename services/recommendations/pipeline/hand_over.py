"""From cold start to retrieval and ranking without a switch: weights and the pooling of scores. Pure.

With n known interactions cold start has the weight w(n), retrieval and the ranker the rest. Each side's
scores are log probabilities of the next item up to a constant, so they are pooled as such: the logarithmic
opinion pool (Genest and Zidek 1986, "Combining probability distributions", sec. 3), w log p + (1 - w) log q.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Candidates
from streamrec.contracts.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class HandOver:
    """How the weight of cold start falls as interactions come in.

    w(n) = max(0, (kappa / (kappa + n) - negligible) / (1 - negligible))

    kappa / (kappa + n) is what a prior worth kappa interactions weighs against n observed ones; the rescaling
    lets it reach zero without a jump, so that the users who are known well cost one call and not two.

    Attributes:
        kappa: Interactions at which both sides weigh about the same. Fitted on validation items
            (`services.recommendations.jobs.hand_over`).
        negligible: Weight below which cold start is not asked at all.

    Raises:
        InvalidInputError: ``kappa`` is not positive and finite, or ``negligible`` outside 0..1.
    """

    kappa: float = 2.0
    negligible: float = 0.05

    def __post_init__(self) -> None:
        if not (np.isfinite(self.kappa) and self.kappa > 0.0):
            raise InvalidInputError("hand_over.kappa", "must be finite and above 0")
        if not 0.0 <= self.negligible < 1.0:
            raise InvalidInputError("hand_over.negligible", "must be at least 0 and below 1")

    def weight(self, interactions: int) -> float:
        """Weight of cold start for a user with that many known interactions: 1 for none."""
        share = self.kappa / (self.kappa + interactions)
        return max(0.0, (share - self.negligible) / (1.0 - self.negligible))


def merge(cold: Candidates, found: Candidates, weight: float, count: int) -> tuple[str, ...]:
    """Take turns in the proportion of the weights: at most ``count`` distinct items, best first.

    The list with the larger claim that is not met yet gives its next item (the largest remainder), so that
    one interaction more changes few of the candidates.

    Args:
        cold: From the cold-start model, best first.
        found: From retrieval, best first.
        weight: Of cold start, 0 to 1.
        count: Most items.
    """
    chosen: dict[str, None] = {}
    taken, places = [0, 0], (cold.item_ids, found.item_ids)
    while len(chosen) < count and (taken[0] < len(cold) or taken[1] < len(found)):
        ahead = (taken[0] + taken[1] + 1) * weight - taken[0]
        side = 0 if taken[1] >= len(found) or (ahead > 0.5 and taken[0] < len(cold)) else 1
        chosen.setdefault(places[side][taken[side]])
        taken[side] += 1
    return tuple(chosen)


def pooled_scores(
    item_ids: tuple[str, ...], cold: Candidates, other: Candidates, weight: float
) -> Candidates:
    """Pool two opinions of ``item_ids``, best first.

    An item that one side did not return is no better for it than the last one that it did: that bound stands
    in for the score.

    Args:
        item_ids: Distinct items, each in at least one of the two lists.
        cold: The cold-start model's scores.
        other: The other side's.
        weight: Of cold start, 0 to 1.
    """
    pooled = weight * log_shares(_aligned(item_ids, cold)) + (1.0 - weight) * log_shares(
        _aligned(item_ids, other)
    )
    return Candidates.from_scores(item_ids, pooled)


def log_shares(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scores as log probabilities over the items at hand (log-softmax over the last axis)."""
    shifted = scores.astype(np.float64) - scores.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _aligned(item_ids: tuple[str, ...], candidates: Candidates) -> NDArray[np.float32]:
    score_of = dict(zip(candidates.item_ids, candidates.scores.tolist(), strict=True))
    floor = float(candidates.scores.min())
    return np.array([score_of.get(item_id, floor) for item_id in item_ids], dtype=np.float32)
