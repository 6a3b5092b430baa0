"""One score from logits and candidate features: a conditional logit (McFadden 1974, eq. 12).

Each example is a choice: the held-out item against all items that the user had not seen, estimated by strata:
the items that the network ranks highest each count as one, and a uniform sample of the others counts for all
of them, so that the fit is about the top of the list and yet of the whole catalogue. The network and the
tables must not have seen the held-out items, or the weights would be fitted on memories.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from services.recommendations.ranking.settings import CombinationSettings
from services.recommendations.training.known_rejections import NO_KNOWN_REJECTIONS, KnownRejections
from streamrec.training.splits import UserHistories

LOGITS: Final = ("pooled_logit", "ordered_logit")
"""The network's inputs to the score, before the candidate features; see `network`."""

_MAXIMUM_ITERATIONS: Final = 200
_SMALLEST_DEVIATION: Final = 1e-6
_HARDEST_SHARE: Final = 0.5
"""Share of the negatives that are the hardest; the others are a sample of the rest."""


@dataclass(frozen=True)
class Combination:
    """Weights of a linear score.

    Attributes:
        weights: Shape (len(LOGITS) + features,), float32: of the logits first, then of the features.
    """

    weights: NDArray[np.float32]

    @classmethod
    def network_alone(cls, feature_count: int) -> Self:
        """The score that ignores the features."""
        weights = np.zeros(len(LOGITS) + feature_count, dtype=np.float32)
        weights[: len(LOGITS)] = 1.0 / len(LOGITS)
        return cls(weights)

    @property
    def uses_features(self) -> bool:
        """Whether any feature has a weight."""
        return bool(self.weights[len(LOGITS) :].any())

    def scores(self, logits: NDArray[np.float32], features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score c candidates.

        Args:
            logits: Shape (c, len(LOGITS)).
            features: Shape (c, features).
        """
        combined: NDArray[np.float32] = (
            logits @ self.weights[: len(LOGITS)] + features @ self.weights[len(LOGITS) :]
        )
        return combined


@dataclass(frozen=True)
class Choice:
    """One held-out item and the items that it should be ranked above.

    Attributes:
        user: Row of the user.
        history: Shape (h,), item rows before the held-out item, oldest first.
        candidates: Shape (1 + negatives,), item rows; the held-out item first.
        log_counts: Shape (1 + negatives,), float32: log of how many items each of them stands for; a
            rejected one for as many more as its weight.
    """

    user: int
    history: NDArray[np.int64]
    candidates: NDArray[np.int64]
    log_counts: NDArray[np.float32]


def held_out_counts(lengths: NDArray[np.int64], settings: CombinationSettings) -> NDArray[np.int64]:
    """Shape (u,): how many of each user's newest items are held out; at least one, never the first item.

    The more users there are, the fewer of each: what is held out is lost to the network.
    """
    enough = settings.maximum_examples // max(1, int((lengths >= 2).sum()))
    share = np.floor(lengths * settings.held_out_share).astype(np.int64)
    counts = np.clip(share, 1, np.clip(enough, 1, settings.held_out_per_user))
    return np.asarray(np.where(lengths >= 2, counts, 0))


def without_newest(sequences: UserHistories, counts: NDArray[np.int64]) -> UserHistories:
    """The sequences less the newest ``counts[u]`` items of each user."""
    kept_lengths = sequences.lengths - counts
    position = np.arange(sequences.items.size) - sequences.offsets[:-1][sequences.users]
    kept = position < kept_lengths[sequences.users]
    return UserHistories(
        user_ids=sequences.user_ids,
        offsets=np.concatenate(([0], np.cumsum(kept_lengths))).astype(np.int64),
        items=sequences.items[kept],
        timestamps=sequences.timestamps[kept],
    )


def choices(
    sequences: UserHistories,
    counts: NDArray[np.int64],
    strengths: Callable[[int, NDArray[np.int64]], NDArray[np.float32]],
    settings: CombinationSettings,
    rng: np.random.Generator,
    rejections: KnownRejections = NO_KNOWN_REJECTIONS,
) -> Iterator[Choice]:
    """Yield the held-out items, at most ``settings.maximum_examples``, with their negatives.

    A held-out item that the user had seen before is left out: seen items are never candidates.

    Args:
        sequences: What the newest items are held out from.
        counts: Shape (users,): how many.
        strengths: From a user's row and a history to the network's score of every item, shape (n,).
        settings: See `CombinationSettings`.
        rng: Source of the sample.
        rejections: What users had rejected before each item of ``sequences``.
    """
    users = np.repeat(np.arange(len(counts)), counts)
    back = np.concatenate([np.arange(1, count + 1) for count in counts]) if counts.size else counts
    if users.size > settings.maximum_examples:
        chosen = np.sort(rng.choice(users.size, settings.maximum_examples, replace=False))
        users, back = users[chosen], back[chosen]
    for user, steps_back in zip(users.tolist(), back.tolist(), strict=True):
        items = sequences.of(user).astype(np.int64)
        history, target = items[: items.size - steps_back], items[items.size - steps_back]
        if target in history:
            continue
        scores = strengths(user, history)
        unseen = np.ones(scores.size, dtype=np.bool_)
        unseen[items] = False
        pool = np.flatnonzero(unseen)
        if pool.size == 0:
            continue
        hardest, others = _strata(pool, scores, int(_HARDEST_SHARE * settings.negative_count))
        sample = others
        if others.size > settings.negative_count - hardest.size:
            sample = rng.choice(others, settings.negative_count - hardest.size, replace=False)
        log_counts = np.zeros(1 + hardest.size + sample.size, dtype=np.float32)
        log_counts[1 + hardest.size :] = np.log(others.size / max(1, sample.size)) if sample.size else 0.0
        candidates = np.concatenate(([target], hardest, sample))
        rejected = rejections.before(sequences.offsets[[user + 1]] - steps_back)
        for item, log_weight in zip(rejected.items[0], rejected.log_weights[0], strict=True):
            place = candidates == item
            log_counts[place] = np.logaddexp(log_counts[place], log_weight)
        yield Choice(user, history, candidates, log_counts)


def _strata(
    pool: NDArray[np.int64], scores: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ``count`` items of a pool with the highest scores, and the others."""
    if count >= pool.size:
        return pool, pool[:0]
    order = np.argpartition(-scores[pool], count)
    return pool[order[:count]], pool[order[count:]]


def fit_combination(
    inputs: NDArray[np.float32], log_counts: NDArray[np.float32], sizes: NDArray[np.int64], l2: float
) -> Combination:
    """Fit the weights by maximum likelihood with a Gaussian pull towards the network's logits alone.

    Args:
        inputs: Shape (examples, candidates, len(LOGITS) + features), the held-out item first.
        log_counts: Shape (examples, candidates): see `Choice`.
        sizes: Shape (examples,): candidates that each example really has; the rest is filling.
        l2: Strength of the pull, on weights of standardised inputs.
    """
    if len(inputs) == 0:
        return Combination.network_alone(inputs.shape[2] - len(LOGITS))
    real = np.arange(inputs.shape[1])[None, :] < sizes[:, None]
    deviations = inputs[real].astype(np.float64).std(axis=0)
    # A feature that never varies says nothing; its weight stays at zero.
    scale = np.where(deviations > _SMALLEST_DEVIATION, 1.0 / np.maximum(deviations, _SMALLEST_DEVIATION), 0.0)
    standardised = np.ascontiguousarray(inputs * scale.astype(np.float32))
    centre = np.zeros(inputs.shape[2])
    centre[: len(LOGITS)] = deviations[: len(LOGITS)] / len(LOGITS)

    def objective(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = np.where(real, standardised @ weights.astype(np.float32) + log_counts, -np.inf)
        scores = scores.astype(np.float64)
        scores -= scores.max(axis=1, keepdims=True)
        exponentials = np.exp(scores)
        totals = exponentials.sum(axis=1, keepdims=True)
        loss = float((np.log(totals[:, 0]) - scores[:, 0]).mean()) + l2 * float(
            ((weights - centre) ** 2).sum()
        )
        probabilities = (exponentials / totals).astype(np.float32)
        expected = np.einsum("ec,ecf->f", probabilities, standardised, optimize=True)
        gradient = (expected - standardised[:, 0].sum(axis=0)) / len(inputs) + 2.0 * l2 * (weights - centre)
        return loss, gradient.astype(np.float64)

    result: Any = optimize.minimize(
        objective, centre, jac=True, method="L-BFGS-B", options={"maxiter": _MAXIMUM_ITERATIONS}
    )
    return Combination((result.x * scale).astype(np.float32))
