from __future__ import annotations

import numpy as np
import pytest

from streamrec.stats.clustered import (
    Units,
    clustered_area_under_curve,
    clustered_mean,
    clustered_root_mean_square,
    independent_difference,
    mid_ranks,
    units_needed,
)
from streamrec.stats.clustered_ranks import clustered_average_precision, clustered_rank_correlation


def sample(seed: int, units: int = 150):
    """Rows of units of 1 to 6 rows whose values share what is the unit's own."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 7, units)
    of_row = np.repeat(np.arange(units), sizes)
    own = rng.normal(size=units)[of_row]
    labels = rng.random(len(of_row)) < 1 / (1 + np.exp(-own))
    scores = np.round(labels + own + rng.normal(size=len(of_row)), 1)
    return labels, scores, Units.named([f"u{row:04d}" for row in of_row])


def jackknife_error(figure, units: Units) -> float:
    """A second way to the same standard error: leave out one unit after the other."""
    left_out = np.array([figure(units.of_row != unit) for unit in range(units.count)])
    n = units.count
    return float(np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()))


def test_units_are_numbered_by_name():
    units = Units.named(["b", "a", "b"])
    assert units.of_row.tolist() == [1, 0, 1]
    assert units.sums(np.array([1.0, 2.0, 4.0])).tolist() == [2.0, 5.0]
    with pytest.raises(ValueError, match="no rows"):
        Units.named([])


def test_the_error_of_a_mean_is_the_one_of_leaving_units_out():
    _, scores, units = sample(1)
    found = clustered_mean(scores, units)
    assert found.value == pytest.approx(scores.mean())
    assert found.errors.mean() == pytest.approx(0.0, abs=1e-12)
    again = jackknife_error(lambda kept: scores[kept].mean(), units)
    assert found.standard_error == pytest.approx(again, rel=0.02)
    # Rows that are not independent say less than their number.
    assert found.standard_error > 1.2 * scores.std() / np.sqrt(scores.size)


def test_the_error_of_a_root_mean_square_is_the_one_of_leaving_units_out():
    _, scores, units = sample(2)
    found = clustered_root_mean_square(scores, units)
    assert found.value == pytest.approx(np.sqrt((scores**2).mean()))
    again = jackknife_error(lambda kept: np.sqrt((scores[kept] ** 2).mean()), units)
    assert found.standard_error == pytest.approx(again, rel=0.03)
    assert clustered_root_mean_square(np.zeros(len(scores)), units).value == 0.0


def plain_area(scores, labels) -> float:
    above = scores[labels][:, None] - scores[~labels][None, :]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def test_the_area_under_the_curve_counts_ties_half_and_its_error_is_that_of_leaving_units_out():
    labels, scores, units = sample(3)
    found = clustered_area_under_curve(scores, labels, units)
    assert found.value == pytest.approx(plain_area(scores, labels), abs=1e-12)
    assert found.errors.mean() == pytest.approx(0.0, abs=1e-12)
    again = jackknife_error(lambda kept: plain_area(scores[kept], labels[kept]), units)
    assert found.standard_error == pytest.approx(again, rel=0.03)
    with pytest.raises(ValueError, match="both labels"):
        clustered_area_under_curve(scores, np.ones(len(scores), dtype=bool), units)


def test_what_two_figures_have_in_common_cancels():
    _, scores, units = sample(4)
    first, second = clustered_mean(scores + 0.25, units), clustered_mean(scores, units)
    paired = (first - second).interval(0.9)
    assert (paired.value, paired.low, paired.high) == pytest.approx((0.25, 0.25, 0.25))
    apart = independent_difference(first, second, confidence=0.9)
    assert apart.high - apart.low == pytest.approx(2 * 1.6449 * np.sqrt(2) * first.standard_error, rel=1e-3)
    with pytest.raises(ValueError, match="different units"):
        first - clustered_mean(np.zeros(2), Units.named(["a", "b"]))


def test_mid_ranks_share_the_mean_of_their_places():
    assert mid_ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_so_many_units_exclude_the_distance_with_that_power():
    needed = units_needed(1.0, 0.1, confidence=0.95, power=0.95)
    assert needed == 1083  # (2 * 1.6449 / 0.1)**2
    rng = np.random.default_rng(5)
    means = rng.normal(size=(2_000, needed)).mean(axis=1)
    excluded = means - 1.6449 / np.sqrt(needed) > -0.1
    assert 0.93 <= excluded.mean() <= 0.97
    with pytest.raises(ValueError, match="above 0"):
        units_needed(1.0, 0.0, confidence=0.95, power=0.95)


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        clustered_mean(np.array([1.0, np.nan]), Units.named(["a", "b"]))


def plain_average_precision(scores, labels) -> float:
    return float(np.mean([labels[scores >= score].mean() for score in scores[labels]]))


def test_average_precision_and_its_error_are_those_of_leaving_units_out():
    labels, scores, units = sample(6)
    found = clustered_average_precision(scores, labels, units)
    assert found.value == pytest.approx(plain_average_precision(scores, labels), abs=1e-12)
    again = jackknife_error(lambda kept: plain_average_precision(scores[kept], labels[kept]), units)
    assert found.standard_error == pytest.approx(again, rel=0.04)
    with pytest.raises(ValueError, match="positive row"):
        clustered_average_precision(scores, np.zeros(len(scores), dtype=bool), units)


def test_a_rank_correlation_and_its_error_are_those_of_leaving_units_out():
    labels, scores, units = sample(7)
    truth = np.round(scores + labels, 0)

    def plain(kept) -> float:
        return float(np.corrcoef(mid_ranks(scores[kept]), mid_ranks(truth[kept]))[0, 1])

    found = clustered_rank_correlation(scores, truth, units)
    assert found.value == pytest.approx(plain(slice(None)), abs=1e-12)
    assert found.standard_error == pytest.approx(jackknife_error(plain, units), rel=0.04)

    first, second = np.digitize(scores, (-0.3, 1.5)) * 1.0, np.digitize(truth, (-1.5, 0.0, 0.5)) * 1.0

    def of_few_values(kept) -> float:
        return float(np.corrcoef(mid_ranks(first[kept]), mid_ranks(second[kept]))[0, 1])

    tied = clustered_rank_correlation(first, second, units)
    assert tied.standard_error == pytest.approx(jackknife_error(of_few_values, units), rel=0.02)
    with pytest.raises(ValueError, match="differ"):
        clustered_rank_correlation(scores, np.ones(len(scores)), units)
