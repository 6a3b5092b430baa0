"""How many samples it takes to show that an outcome is not worse by more than a margin."""

from __future__ import annotations

from math import ceil, isfinite
from statistics import NormalDist

from streamrec.stats.clustered_ratios import RatioMoments


def requests_per_arm(
    rate: float, margin: float, *, confidence: float, power: float, design_effect: float = 1.0
) -> int:
    """Requests of each of two equal arms that show a rate to be non-inferior.

    ``n = (z_confidence + z_power)^2 2 rate (1 - rate) / (margin rate)^2`` (Chow, Shao, Wang and Lokhnygina
    2017, "Sample size calculations in clinical research", sec. 4.2.2, equal rates).

    Args:
        rate: Share of requests with the outcome, above 0 and below 1.
        margin: Tolerated loss, as a share of ``rate``.
        confidence: Of the one-sided bound.
        power: Chance that a version that is as good passes.
        design_effect: By how much the variance is larger than that of independent requests (`design_effect`).

    Raises:
        ValueError: ``rate`` or ``margin`` is out of bounds.
    """
    if not 0.0 < rate < 1.0:
        raise ValueError("rate must be above 0 and below 1")
    return _per_arm(rate * (1.0 - rate) * design_effect, rate, margin, confidence, power)


def samples_per_arm(moments: RatioMoments, margin: float, *, confidence: float, power: float) -> int | None:
    """The same for any ratio over units as clusters, from what was seen of them.

    Args:
        moments: Of the version that serves.
        margin, confidence, power: As of `requests_per_arm`.

    Returns:
        Samples of each arm, in what the ratio is over; None where ``moments`` say nothing about its variance.
    """
    ratio, variance = moments.ratio, moments.variance
    if not ratio or not variance:
        return None
    return _per_arm(variance * moments.y, abs(ratio), margin, confidence, power)


def smaller_arm(per_arm: int, share: float) -> int:
    """Samples of an arm that gets ``share`` of all, which say as much as two equal arms of ``per_arm``.

    The variance of a difference is that of ``1 / a + 1 / b``; with ``b = a (1 - share) / share`` it takes
    ``a = per_arm / (2 (1 - share))``.
    """
    if not 0.0 < share < 1.0:
        raise ValueError("share must be above 0 and below 1: there is nobody to compare with")
    return ceil(per_arm / (2.0 * (1.0 - share)))


def design_effect(moments: RatioMoments) -> float | None:
    """Variance of a rate with units as clusters, over that of as many independent requests (Kish 1965).

    Returns:
        None where it cannot be estimated; below 1 where units are more alike than chance would make them.
    """
    rate, variance = moments.ratio, moments.variance
    if rate is None or not variance or not 0.0 < rate < 1.0:
        return None
    return variance * moments.y / (rate * (1.0 - rate))


def _per_arm(variance: float, value: float, margin: float, confidence: float, power: float) -> int:
    if not (isfinite(margin) and margin > 0.0):
        raise ValueError("margin must be finite and above 0")
    normal = NormalDist()
    quantiles = normal.inv_cdf(confidence) + normal.inv_cdf(power)
    return ceil(quantiles**2 * 2.0 * variance / (margin * value) ** 2)
