"""From scores to probabilities: what a candidate is worth to this user, comparable between users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from streamrec.contracts.errors import InvalidInputError

Floats = NDArray[np.float64]

INTERACTION_STEPS: Final = (0, 1, 5)
"""Least interactions of each group of users: other models score for them, so scores mean other things."""

_HEAD_SLATES: Final = 5
"""Slates of candidates that make the head of a list: what prices choose from in the user's own languages."""

_BOUNDS: Final = ((0.0, 20.0), (0.0, 5.0), (0.0, 6.0))
"""Of the three parameters, the first in units of the spread of the scores."""

_FEWEST_CASES: Final = 30
"""With fewer held-out items among the candidates the parameters are chance."""


@dataclass(frozen=True, slots=True)
class ListCalibration:
    """Log likelihood of the candidate at position j from 0, up to a constant:
    ``score_weight * s_j - rank_discount * log(1 + j) - tail_discount [j >= head]``.

    With the score alone this is temperature scaling. One temperature cannot serve both the head of a ranked
    list and the hundreds of candidates behind it: fitted to all, it makes the first items too certain or not
    certain enough. The rank says what the scale of the scores does not.

    Attributes:
        score_weight: Inverse temperature.
        rank_discount: Exponent of a power law over the ranks.
        tail_discount: Taken off all candidates behind the head.
    """

    score_weight: float = 1.0
    rank_discount: float = 0.0
    tail_discount: float = 0.0

    def __post_init__(self) -> None:
        for name in ("score_weight", "rank_discount", "tail_discount"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0.0):
                raise InvalidInputError(f"calibration.{name}", "must be finite and not negative")

    def relevance(self, scores: NDArray[np.float32], slate_length: int) -> Floats:
        """Return probabilities, shape (n,), not increasing.

        Args:
            scores: Shape (n,), not increasing, n > 0.
            slate_length: Items of the slate.
        """
        # Relative to the best one: no overflow.
        logits = self.score_weight * (scores.astype(np.float64) - float(scores[0]))
        logits -= self.rank_discount * np.log1p(np.arange(len(scores)))
        logits[_HEAD_SLATES * slate_length :] -= self.tail_discount
        likelihood = np.exp(logits)
        relevance: Floats = likelihood / likelihood.sum()
        return relevance


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far the scores of each group of users can be believed.

    Attributes:
        groups: One for each of `INTERACTION_STEPS`.
    """

    groups: tuple[ListCalibration, ...] = (ListCalibration(),) * len(INTERACTION_STEPS)

    def __post_init__(self) -> None:
        if len(self.groups) != len(INTERACTION_STEPS):
            raise InvalidInputError("calibration.groups", f"must be {len(INTERACTION_STEPS)}")

    def relevance(self, scores: NDArray[np.float32], slate_length: int, interactions: int) -> Floats:
        """As `ListCalibration.relevance`, for a user with so many interactions."""
        return self.groups[group_of(interactions)].relevance(scores, slate_length)


def group_of(interactions: int) -> int:
    """Position in `INTERACTION_STEPS` of a user with so many interactions."""
    return sum(interactions >= least for least in INTERACTION_STEPS) - 1


def fit_calibration(
    scores: Sequence[NDArray[np.float32]],
    interactions: Sequence[int],
    held_out: Sequence[int],
    slate_length: int,
) -> Calibration:
    """Maximise the likelihood of the held-out item among the candidates, group by group.

    A conditional logit (McFadden 1974, "Conditional logit analysis of qualitative choice behavior", eq. 18)
    with temperature scaling as its first parameter (Guo et al. 2017, "On calibration of modern neural
    networks", sec. 4.2): the likelihood is concave. A group with too few held-out items has the calibration
    of the next group that has enough.

    Args:
        scores: Scores of each request's candidates, not increasing.
        interactions: Of each request's user.
        held_out: Position of the held-out item among the candidates; negative where it is not.
        slate_length: Items of the slate.
    """
    group = np.array([group_of(count) for count in interactions])
    found = np.asarray(held_out) >= 0
    fitted: list[ListCalibration] = []
    # The users with most interactions first: they are those whom all data has.
    for number in reversed(range(len(INTERACTION_STEPS))):
        rows: list[int] = np.flatnonzero(found & (group == number)).tolist()
        if len(rows) >= _FEWEST_CASES:
            fitted.append(_most_likely([scores[r] for r in rows], [held_out[r] for r in rows], slate_length))
        else:
            fitted.append(fitted[-1] if fitted else ListCalibration())
    return Calibration(tuple(reversed(fitted)))


def _most_likely(
    scores: Sequence[NDArray[np.float32]], places: Sequence[int], slate_length: int
) -> ListCalibration:
    width = max(len(values) for values in scores)
    spread = float(np.mean([np.std(values) for values in scores])) or 1.0
    features = np.zeros((len(scores), width, 3))
    missing = np.zeros((len(scores), width))
    for case, values in enumerate(scores):
        count = len(values)
        features[case, :count, 0] = (values.astype(np.float64) - float(values[0])) / spread
        missing[case, count:] = -np.inf
    features[:, :, 1] = -np.log1p(np.arange(width))
    features[:, _HEAD_SLATES * slate_length :, 2] = -1.0
    chosen = features[np.arange(len(scores)), places]

    def loss(parameters: Floats) -> tuple[float, Floats]:
        # No logit is above 0: nothing to subtract before the exponential.
        likelihood = np.exp(features @ parameters + missing)
        total = likelihood.sum(axis=1)
        expected = np.einsum("cnf,cn->cf", features, likelihood / total[:, None])
        gradient: Floats = (expected - chosen).mean(axis=0)
        return float((np.log(total) - chosen @ parameters).mean()), gradient

    best = minimize(loss, np.array([1.0, 0.0, 0.0]), jac=True, method="L-BFGS-B", bounds=_BOUNDS).x
    return ListCalibration(float(best[0] / spread), float(best[1]), float(best[2]))
