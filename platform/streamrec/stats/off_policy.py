"""The value of a policy that did not serve, from the log of one that did: inverse propensity weighting.

Each item of a slate is weighted by how much more often the candidate policy would have shown it where it
stood than the policy that served: the item-position estimator, which is unbiased where what a user does with
an item depends on the item and its position alone (Li, Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay and Wen
2018, "Offline evaluation of ranking policies with click models"). Slates of one item need no such
assumption.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.intervals import Interval, interval_json
from streamrec.stats.intervals import normal_interval


@dataclass(frozen=True)
class OffPolicyValue:
    """What an impression is worth under the candidate policy.

    Attributes:
        value: Unbiased where the propensities are; wide where weights are large.
        self_normalised: The weights of each position divided by their sum: a little biased, with less
            variance, and it does not move when a constant is added to all outcomes. None where the candidate
            policy would have shown nothing of what was logged at some position.
        effective_sample_size: Impressions drawn by the candidate policy itself that would tell as much, at
            the position where they are fewest.
        impressions: How many were logged.
    """

    value: Interval
    self_normalised: Interval | None
    effective_sample_size: float
    impressions: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "value": interval_json(self.value),
            "self_normalised": interval_json(self.self_normalised),
            "effective_sample_size": self.effective_sample_size,
            "impressions": self.impressions,
        }


def monte_carlo_propensity(hits: NDArray[np.integer], draws: int) -> NDArray[np.float64]:
    """Estimate probabilities from further draws: ``(c + 1) / (n + 1)``, never 0.

    The draw that was logged counts as one more. Its inverse is what weights are made of, and that has almost
    no bias: E[(n + 1) / (c + 1)] = (1 - (1 - p)^(n + 1)) / p for c from Binomial(n, p) (Chao and Strawderman
    1972, "Negative moments of positive random variables").

    Args:
        hits: Of ``draws``, how many showed the item where it was logged.
        draws: 1 or more; the logged one is not among them.

    Raises:
        ValueError: There are no draws, or fewer or more hits than there can be.
    """
    if draws < 1 or hits.size == 0 or hits.min() < 0 or hits.max() > draws:
        raise ValueError(f"hits must lie between 0 and the number of draws, {draws}, which must be positive")
    propensities: NDArray[np.float64] = (hits.astype(np.float64) + 1.0) / (draws + 1.0)
    return propensities


def inverse_propensity_value(
    outcomes: NDArray[np.float64],
    candidate: NDArray[np.float64],
    logged: NDArray[np.float64],
    users: NDArray[np.integer],
    *,
    confidence: float = 0.95,
) -> OffPolicyValue:
    """Estimate what an impression is worth under a candidate policy (Horvitz and Thompson 1952; Hajek 1971).

    The intervals are normal approximations over users by the delta method: the impressions of one user depend
    on one another, and how many there are is random (Cameron and Miller 2015, sec. II). With a few dozen
    users, or an effective sample size of that order, they are too narrow.

    Args:
        outcomes: Shape (n, k): what each position of each impression brought, 0 where nothing.
        candidate: Shape (n, k): probability that the candidate policy shows the logged item there.
        logged: Shape (n, k): the same of the policy that served, above 0 and at most 1.
        users: Shape (n,): row of the user of each impression, any integers.
        confidence: Coverage asked for.

    Raises:
        ValueError: Shapes differ, there are no impressions or fewer than two users, a value is not finite, or
            a probability is none; a logged one of 0 cannot have been logged.
    """
    if outcomes.ndim != 2 or outcomes.size == 0 or not outcomes.shape == candidate.shape == logged.shape:
        raise ValueError("outcomes and propensities must have one shape, impressions by positions")
    if users.shape != outcomes.shape[:1]:
        raise ValueError(f"{users.shape} users for {len(outcomes)} impressions")
    if not (np.isfinite(outcomes).all() and _probabilities(candidate) and _probabilities(logged)):
        raise ValueError("outcomes must be finite and propensities must lie between 0 and 1")
    if not logged.all():
        raise ValueError("a logged item has a propensity of 0: it cannot have been shown")
    _, owner = np.unique(users, return_inverse=True)
    count = int(owner.max()) + 1
    if count < 2:
        raise ValueError("one user alone says nothing of how users differ: two or more are needed")
    weights = candidate / logged
    worth = weights * outcomes
    impressions_of = np.bincount(owner, minlength=count)
    value = float(worth.sum()) / len(outcomes)
    # The error of each user's sum, over the mean number of impressions: the delta method for a ratio.
    errors = (_sums(owner, worth, count).sum(axis=1) - value * impressions_of) / impressions_of.mean()
    correction = np.sqrt(count / (count - 1.0))
    return OffPolicyValue(
        value=normal_interval(value, correction * errors, confidence=confidence),
        self_normalised=_self_normalised(weights, worth, owner, count, confidence),
        effective_sample_size=_effective_sample_size(weights),
        impressions=len(outcomes),
    )


def _self_normalised(
    weights: NDArray[np.float64],
    worth: NDArray[np.float64],
    owner: NDArray[np.integer],
    count: int,
    confidence: float,
) -> Interval | None:
    """Each position's weights divided by their sum (Swaminathan and Joachims 2015, "The self-normalized
    estimator for counterfactual learning")."""
    totals = weights.sum(axis=0)
    if not totals.all():
        return None
    values = worth.sum(axis=0) / totals
    errors = (_sums(owner, worth, count) - values * _sums(owner, weights, count)) / (totals / count)
    correction = np.sqrt(count / (count - 1.0))
    return normal_interval(float(values.sum()), correction * errors.sum(axis=1), confidence=confidence)


def _effective_sample_size(weights: NDArray[np.float64]) -> float:
    """(sum of w)^2 / sum of w^2 (Kong 1992), of the position where it is smallest."""
    squares = (weights**2).sum(axis=0)
    sizes = np.divide(weights.sum(axis=0) ** 2, squares, out=np.zeros_like(squares), where=squares > 0.0)
    return float(sizes.min())


def _sums(owner: NDArray[np.integer], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Shape (users, positions): values added up by user."""
    columns = [np.bincount(owner, weights=column, minlength=count) for column in values.T]
    return np.stack(columns, axis=1)


def _probabilities(values: NDArray[np.float64]) -> bool:
    return bool(((values >= 0.0) & (values <= 1.0)).all())
