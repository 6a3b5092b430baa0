"""The segment hierarchy: its statistics, its marginal likelihood with gradient, its effects in closed form.

For one canonical coordinate k and user u with m_u early interactions of mean y_u:

    effect_p ~ N(0, (share_a(p) between_k)^2)            a segment value's effect, shrunk to the population
    x_u      = population + sum of the user's effects + N(0, between_k^2)
    y_u      ~ N(x_u, noise_k^2 / m_u)

Population and effects are integrated out exactly, since all is Gaussian given the three kinds of scale
(Gelman et al. 2013, "Bayesian Data Analysis", sec. 5.4 and 15). What is left to sample are the scales alone:
few, well behaved (no funnel), and at a cost that depends on the number of segment values and not on the
number of users.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize

from services.recommendations.cold_start.canonical_basis import EarlyInteractions

POPULATION_SCALE: Final = 100.0
"""Prior standard deviation of the population mean, in units of the click noise: next to flat."""

PRIOR: Final = {"share": (np.log(0.2), 1.0), "between": (0.0, 1.0), "noise": (0.0, 0.5)}
"""Mean and standard deviation of each log scale before any data, in units of the click noise.

Log-normal, so that no scale collapses to zero for want of data (Chung et al. 2013, "A nondegenerate penalized
likelihood estimator for variance parameters"): a share is 0.03 to 1.4 with 95 %.
"""

_CURVATURE_STEP: Final = 1e-4
_WIDTH_BOUNDS: Final = (1e-3, 1.0)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SegmentStatistics:
    """Everything the likelihood needs to know of the users, for k coordinates and p design columns.

    Users are grouped by their number of early interactions, g = 1..m.

    Attributes:
        interactions: Shape (m,): interactions per user in group g.
        users: Shape (m,): users in the group.
        gram: Shape (m, p, p): X'X.
        cross: Shape (m, p, k): X'Y.
        squares: Shape (m, k): sum of Y^2.
        within: Shape (k,): scatter within users.
        degrees_of_freedom: Of that scatter.
        attribute_of_column: Shape (p - 1,): attribute index of the columns after the population's.
        attributes: Number of attributes that own a column.
    """

    interactions: Floats
    users: Floats
    gram: Floats
    cross: Floats
    squares: Floats
    within: Floats
    degrees_of_freedom: float
    attribute_of_column: NDArray[np.int64]
    attributes: int

    @property
    def coordinates(self) -> int:
        """Number of coordinates k."""
        return int(self.squares.shape[1])


@dataclass(frozen=True)
class Scales:
    """Standard deviations: ``spread`` shape (attributes, k), ``between`` and ``noise`` shape (k,).

    ``spread`` is that of an attribute's effects: the attribute's share times ``between``.
    """

    spread: Floats
    between: Floats
    noise: Floats


@dataclass(frozen=True)
class Effects:
    """Population mean and segment effects given the scales: mean shape (p, k), covariance shape (k, p, p)."""

    mean: Floats
    covariance: Floats


def segment_statistics(
    early: EarlyInteractions,
    to_canonical: Floats,
    design: Floats,
    attribute_of_column: NDArray[np.int64],
    attributes: int,
) -> SegmentStatistics:
    """Collect the statistics of the leading coordinates.

    Args:
        early: Training users' first interactions.
        to_canonical: Shape (d, k), the leading columns of the basis.
        design: Shape (u, p).
        attribute_of_column: Shape (p - 1,), values in 0..attributes - 1.
        attributes: Number of attributes that own a column.
    """
    coordinates = early.means @ to_canonical
    groups = np.unique(early.counts)
    members = [early.counts == group for group in groups]
    return SegmentStatistics(
        interactions=groups.astype(np.float64),
        users=np.array([float(rows.sum()) for rows in members]),
        gram=np.array([design[rows].T @ design[rows] for rows in members]),
        cross=np.array([design[rows].T @ coordinates[rows] for rows in members]),
        squares=np.array([(coordinates[rows] ** 2).sum(axis=0) for rows in members]),
        within=np.einsum("dk,de,ek->k", to_canonical, early.within, to_canonical),
        degrees_of_freedom=float(early.degrees_of_freedom),
        attribute_of_column=attribute_of_column,
        attributes=attributes,
    )


def log_likelihood(statistics: SegmentStatistics, scales: Scales) -> tuple[float, Scales]:
    """Marginal log likelihood of the scales, up to a constant, and its gradient with respect to each of them.

    Returns:
        The value, and the gradient in the shape of ``scales``; minus infinity and zeros where a scale is so
        extreme that the arithmetic overflows.
    """
    variance = scales.between**2 + scales.noise**2 / statistics.interactions[:, None]  # (m, k)
    weight = 1.0 / variance
    deviation = _prior_deviation(statistics, scales)  # (k, p)
    inverse, log_determinant = _scaled_inverse(statistics, weight, deviation)
    moment = np.einsum("mk,mpk->kp", weight, statistics.cross)
    scaled = np.einsum("kpq,kq->kp", inverse, deviation * moment)
    effect = deviation * scaled  # posterior mean of the effects, (k, p)
    value = (
        -0.5 * float((statistics.users[:, None] * np.log(variance)).sum())
        - 0.5 * float((statistics.squares * weight).sum())
        + 0.5 * float((effect * moment).sum())
        - 0.5 * float(log_determinant.sum())
        - statistics.degrees_of_freedom * float(np.log(scales.noise).sum())
        - 0.5 * float((statistics.within / scales.noise**2).sum())
    )
    if not np.isfinite(value):
        zeros = Scales(*(np.zeros_like(part) for part in (scales.spread, scales.between, scales.noise)))
        return -np.inf, zeros
    covariance = deviation[:, :, None] * inverse * deviation[:, None, :]
    second_moment = covariance + effect[:, :, None] * effect[:, None, :]
    by_weight = 0.5 * (
        statistics.users[:, None] * variance
        - statistics.squares
        + 2.0 * np.einsum("kp,mpk->mk", effect, statistics.cross)
        - statistics.gram.reshape(len(statistics.gram), -1) @ second_moment.reshape(len(second_moment), -1).T
    )
    by_variance = -(weight**2) * by_weight
    by_spread = np.zeros_like(scales.spread)
    per_column = (scaled**2 + np.diagonal(inverse, axis1=1, axis2=2) - 1.0)[:, 1:].T  # (p - 1, k)
    np.add.at(by_spread, statistics.attribute_of_column, per_column)
    return value, Scales(
        spread=by_spread / scales.spread,
        between=2.0 * scales.between * by_variance.sum(axis=0),
        noise=2.0 * scales.noise * (by_variance / statistics.interactions[:, None]).sum(axis=0)
        - statistics.degrees_of_freedom / scales.noise
        + statistics.within / scales.noise**3,
    )


def effects_given(statistics: SegmentStatistics, scales: Scales) -> Effects:
    """Posterior of population mean and segment effects when the scales are known."""
    weight = 1.0 / (scales.between**2 + scales.noise**2 / statistics.interactions[:, None])
    deviation = _prior_deviation(statistics, scales)
    inverse, _ = _scaled_inverse(statistics, weight, deviation)
    covariance = deviation[:, :, None] * inverse * deviation[:, None, :]
    moment = np.einsum("mk,mpk->kp", weight, statistics.cross)
    return Effects(mean=np.einsum("kpq,kq->pk", covariance, moment), covariance=covariance)


def scales_of(statistics: SegmentStatistics, log_scales: Floats) -> Scales:
    """Unpack a vector of log scales, shape (attributes + 2 k,): shares, then between, then noise."""
    share, between, noise = np.split(
        np.exp(log_scales), [statistics.attributes, statistics.attributes + statistics.coordinates]
    )
    return Scales(share[:, None] * between, between, noise)


def log_scale_likelihood(statistics: SegmentStatistics, log_scales: Floats) -> tuple[float, Floats]:
    """`log_likelihood` and its gradient as functions of the vector that `scales_of` unpacks."""
    # A sampler that still adapts its step size tries absurd scales; what overflows is a rejected proposal.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        scales = scales_of(statistics, log_scales)
        value, gradient = log_likelihood(statistics, scales)
        by_log_spread = gradient.spread * scales.spread
        by_log_between = gradient.between * scales.between + by_log_spread.sum(axis=0)
        by_log_noise = gradient.noise * scales.noise
    joined = np.concatenate([by_log_spread.sum(axis=1), by_log_between, by_log_noise])
    return value, np.where(np.isfinite(joined), joined, 0.0)


def log_scale_prior(statistics: SegmentStatistics) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each log scale before any data, in the order of `scales_of`."""
    sizes = (statistics.attributes, statistics.coordinates, statistics.coordinates)
    pairs = np.repeat([PRIOR["share"], PRIOR["between"], PRIOR["noise"]], sizes, axis=0)
    return pairs[:, 0], pairs[:, 1]


def laplace_approximation(statistics: SegmentStatistics) -> tuple[Floats, Floats]:
    """Mode of the log scales' posterior, and the width of each there (Gelman et al. 2013, sec. 4.1)."""
    mean, deviation = log_scale_prior(statistics)

    def negative(log_scales: Floats) -> tuple[float, Floats]:
        value, gradient = log_scale_likelihood(statistics, log_scales)
        standard = (log_scales - mean) / deviation
        if not np.isfinite(value):
            return 1e300, np.zeros_like(gradient)
        return 0.5 * float(standard @ standard) - value, standard / deviation - gradient

    mode = np.asarray(minimize(negative, mean, jac=True, method="L-BFGS-B").x)
    curvature = np.empty_like(mode)
    for position in range(len(mode)):
        step = np.zeros_like(mode)
        step[position] = _CURVATURE_STEP
        difference = negative(mode + step)[1] - negative(mode - step)[1]
        curvature[position] = difference[position] / (2.0 * _CURVATURE_STEP)
    return mode, np.clip(1.0 / np.sqrt(np.maximum(curvature, 1e-12)), *_WIDTH_BOUNDS)


def _prior_deviation(statistics: SegmentStatistics, scales: Scales) -> Floats:
    population = np.full((1, statistics.coordinates), POPULATION_SCALE)
    return np.concatenate([population, scales.spread[statistics.attribute_of_column]]).T


def _scaled_inverse(
    statistics: SegmentStatistics, weight: Floats, deviation: Floats
) -> tuple[Floats, Floats]:
    """Inverse and log determinant of I + D^1/2 (sum_g w_g X'X) D^1/2: well conditioned for every spread."""
    columns = statistics.gram.shape[1]
    precision = (weight.T @ statistics.gram.reshape(len(statistics.gram), -1)).reshape(-1, columns, columns)
    scaled = deviation[:, :, None] * precision * deviation[:, None, :]
    scaled[:, np.arange(columns), np.arange(columns)] += 1.0
    if not np.isfinite(scaled).all():
        return np.broadcast_to(np.eye(columns), scaled.shape), np.full(len(scaled), np.inf)
    inverse, log_determinant = np.empty_like(scaled), np.empty(len(scaled))
    for k, matrix in enumerate(scaled):  # LAPACK directly: three times as fast as NumPy's stacked routines
        factor, _ = dpotrf(matrix)
        log_determinant[k] = 2.0 * np.log(np.diagonal(factor)).sum()
        upper, _ = dpotri(factor)
        inverse[k] = np.triu(upper) + np.triu(upper, 1).T
    return inverse, log_determinant
