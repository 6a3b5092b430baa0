"""The widths of the model's predictive intervals, and how often they contain the next item.

The predictive quantity is where the next item that a user takes up lies along each leading canonical
coordinate: the directions in which users differ most. Given a history, the interval of nominal coverage c is

    v_k in mean_k +- q_k(c) sigma_k,   sigma_k^2 = 1 + 1 / precision_k

where sigma is the scatter of one user's items, which is 1 in the canonical basis, together with what is not
known of the user. For a Gaussian q(0.9) would be 1.64; items scatter with other tails, so q is the quantile
of |v_k - mean_k| / sigma_k on validation items (split-conformal intervals, locally scaled: Lei et al. 2018,
"Distribution-free predictive inference for regression", sec. 5.2).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from services.recommendations.cold_start.artifact import NOMINAL_COVERAGES
from services.recommendations.cold_start.assessment import Cases
from services.recommendations.cold_start.model import ColdStartModel
from streamrec.contracts.intervals import Interval
from streamrec.stats.intervals import bootstrap_mean


class CoveragePoint(NamedTuple):
    """One point of the calibration plot.

    Attributes:
        nominal: What the intervals claim to cover.
        empirical: Share of the held-out coordinates that they do; the users are resampled, not the cases.
    """

    nominal: float
    empirical: Interval


def gaussian_widths(dimension: int) -> NDArray[np.float64]:
    """Shape (levels, dimension): half widths in sigmas where the Gaussian holds, by `NOMINAL_COVERAGES`."""
    quantiles = norm.ppf(0.5 + 0.5 * np.array(NOMINAL_COVERAGES))
    return np.repeat(quantiles[:, None], dimension, axis=1)


def fit_interval_widths(model: ColdStartModel, cases: Cases) -> NDArray[np.float64]:
    """Shape (levels, d): half widths in sigmas at which so many of the cases are covered.

    Coordinates without segment effects, and every one where there are no cases, keep the Gaussian's.
    """
    widths = gaussian_widths(len(model.basis.mean))
    if cases.users:
        deviations = np.abs(_standardised(model, cases))
        widths[:, : deviations.shape[1]] = np.quantile(deviations, NOMINAL_COVERAGES, axis=0)
    return widths


def coverage(model: ColdStartModel, cases: Cases, *, rng: np.random.Generator) -> list[CoveragePoint]:
    """Share of held-out items that the predictive intervals hold, over the leading coordinates.

    Args:
        model: With its fitted ``interval_widths``.
        cases: On which neither the model nor the widths were fitted.
        rng: Of the resamples.

    Returns:
        One point for each of `NOMINAL_COVERAGES`; none without cases.
    """
    if not cases.users:
        return []
    deviations = np.abs(_standardised(model, cases))
    names, owner = np.unique([user.user_id for user in cases.users], return_inverse=True)
    cases_of = np.bincount(owner, minlength=len(names))
    points = []
    for level, widths in zip(NOMINAL_COVERAGES, model.interval_widths, strict=True):
        held = (deviations <= widths[: deviations.shape[1]]).mean(axis=1)
        by_user = np.bincount(owner, held, minlength=len(names)) / cases_of
        points.append(CoveragePoint(level, bootstrap_mean(by_user, rng=rng)))
    return points


def _standardised(model: ColdStartModel, cases: Cases) -> NDArray[np.float64]:
    """Shape (cases, k): target's coordinates less the predicted mean, over sigma."""
    k = model.prior.effect_mean.shape[1]
    values = np.empty((len(cases.users), k))
    for row, (user, target) in enumerate(zip(cases.users, cases.targets.tolist(), strict=True)):
        posterior = model.posterior(user)
        deviation = model.item_coordinates[target, :k] - posterior.coordinates[:k]
        values[row] = deviation / np.sqrt(1.0 + 1.0 / posterior.precision[:k])
    return values
