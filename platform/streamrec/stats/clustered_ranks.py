"""Average precision and rank correlation over rows of units, with what each unit adds to the error.

Both depend on where a row stands among all others, so a row also adds to the error through the places of the
others. The terms are the influence functions of the two figures as functionals of the empirical distribution
(van der Vaart 1998, ch. 20; for the correlation, Croux and Dehon 2010, sec. 3, here with ties).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamrec.stats.clustered import ClusteredEstimate, Units, mid_ranks, weighted_counts


def clustered_average_precision(
    scores: NDArray[np.float64], is_positive: NDArray[np.bool_], units: Units
) -> ClusteredEstimate:
    """Mean, over positives, of the share of positives among all rows with at least as high a score.

    Args:
        scores: Shape (n,), finite; higher for positives.
        is_positive: Shape (n,).
        units: Of the rows.

    Raises:
        ValueError: No row is positive, or a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    if not is_positive.any():
        raise ValueError("average precision takes a positive row")
    share = is_positive.mean()
    positives = is_positive.astype(np.float64)
    at_least = _above(scores, np.ones(len(scores)))
    positives_at_least = _above(scores, positives)
    precision = positives_at_least / at_least
    value = float(precision[is_positive].mean())
    # A row counts among "all with at least as high a score" of every positive that is not above it.
    through_positives = _below(scores, positives / at_least)
    through_all = _below(scores, positives * positives_at_least / at_least**2)
    terms = positives * precision + positives * through_positives - through_all - value * positives
    return _estimate(value, terms / share, units)


def clustered_rank_correlation(
    first: NDArray[np.float64], second: NDArray[np.float64], units: Units
) -> ClusteredEstimate:
    """Spearman's correlation: Pearson's of mid-ranks.

    Args:
        first, second: Shape (n,), finite.
        units: Of the rows.

    Raises:
        ValueError: All values of one of the two are the same, or a value is not finite.
    """
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("values must be finite")
    one, other = _centred_places(first), _centred_places(second)
    spread_one, spread_other = float((one**2).mean()), float((other**2).mean())
    if spread_one == 0.0 or spread_other == 0.0:
        raise ValueError("a rank correlation takes values that differ, on both sides")
    common = float((one * other).mean())
    value = common / float(np.sqrt(spread_one * spread_other))
    of_common = one * other + _through_places(first, other) + _through_places(second, one)
    of_one = one**2 + 2.0 * _through_places(first, one)
    of_other = other**2 + 2.0 * _through_places(second, other)
    terms = of_common / np.sqrt(spread_one * spread_other) - 0.5 * value * (
        of_one / spread_one + of_other / spread_other
    )
    return _estimate(value, terms, units)


def _estimate(value: float, terms: NDArray[np.float64], units: Units) -> ClusteredEstimate:
    return ClusteredEstimate(value, units.sums(terms - terms.mean()) * (units.count / terms.size))


def _centred_places(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of rows below each, equal ones half, less a half."""
    return (mid_ranks(values) - 0.5) / len(values) - 0.5


def _through_places(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row: the mean of ``weights`` over the rows that it lies below, equal ones half."""
    not_below, equal = _above(values, weights), _equal(values, weights)
    return (not_below - 0.5 * equal) / len(values)


def _above(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row: the sum of ``weights`` over rows whose value is at least its own."""
    sums, place = _by_value(values, weights)
    reversed_sums: NDArray[np.float64] = np.cumsum(sums[::-1])[::-1]
    return reversed_sums[place]


def _below(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row: the sum of ``weights`` over rows whose value is at most its own."""
    sums, place = _by_value(values, weights)
    result: NDArray[np.float64] = np.cumsum(sums)[place]
    return result


def _equal(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    sums, place = _by_value(values, weights)
    return sums[place]


def _by_value(
    values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum of ``weights`` of each distinct value, ascending, and the place of each row among these."""
    distinct, place = np.unique(values, return_inverse=True)
    return weighted_counts(place, weights, len(distinct)), place
