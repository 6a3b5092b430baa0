"""Comparisons of answers that are one number: out of the counts of every group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from scipy.special import ndtri

from streamrec.contracts.intervals import Interval, IntervalMethod, interval_json
from streamrec.contracts.specification.fairness_policy import FairnessMetric, FairnessPolicy
from streamrec.gates.fairness.differences import Comparison, MeanDifference, Undecided
from streamrec.gates.fairness.groups import AND, is_missing, reference_of
from streamrec.stats.fairness_counts import RATES, GroupCounts, Rate
from streamrec.stats.fairness_decision import welch_degrees

Tables = Mapping[str, Mapping[str, GroupCounts]]
"""Counts by title of the partition, then by name of the group."""

DesignEffect = Callable[[str, str], float]
"""Of the metric of a group: by how much rows that share a unit say less than as many units would."""

COUNTED_METRICS: Final = frozenset({*map(FairnessMetric, RATES), FairnessMetric.CALIBRATION})


def _independent(_group: str, _metric: str) -> float:
    return 1.0


def counted_comparisons(
    tables: Tables,
    policy: FairnessPolicy,
    metrics: Mapping[FairnessMetric, float],
    design_effect: DesignEffect = _independent,
) -> list[Comparison]:
    """Every comparison that the policy requires, also where there is nothing to compare.

    Args:
        tables: Of the partitions that there are.
        policy: Names the reference, the smallest size and groups that must be there.
        metrics: Tolerances.
        design_effect: 1 where rows are independent.
    """
    comparisons = []
    for title, groups in tables.items():
        sizes = {name: counts.rows for name, counts in groups.items()}
        reference = reference_of(sizes, title, policy)
        if reference is None:
            continue
        expected = [f"{title}={name}" for name in policy.groups.get(title, ())]
        for name in [*groups, *(name for name in expected if name not in groups)]:
            counts = groups.get(name, GroupCounts())
            if name == reference or (is_missing(name) and counts.rows < policy.minimum_group_size):
                continue
            for metric, tolerance in metrics.items():
                comparisons.append(
                    _compared(
                        metric, tolerance, name, counts, reference, groups[reference], policy, design_effect
                    )
                )
    return comparisons


def _compared(
    metric: FairnessMetric,
    tolerance: float,
    name: str,
    counts: GroupCounts,
    reference_name: str,
    reference: GroupCounts,
    policy: FairnessPolicy,
    design_effect: DesignEffect,
) -> Comparison:
    undecided = None
    if counts.rows == 0:
        undecided = Undecided.GROUP_MISSING
    elif min(counts.rows, reference.rows) < policy.minimum_group_size:
        undecided = Undecided.GROUP_TOO_SMALL
    like = counts if counts.rows else reference
    own_effect, effect = design_effect(name, metric.value), design_effect(reference_name, metric.value)
    if metric is FairnessMetric.CALIBRATION:
        mean = _gap_difference(counts, own_effect, reference, effect)
        return Comparison(
            metric,
            name,
            reference_name,
            tolerance,
            counts.rows,
            mean=mean,
            trials_per_row=1.0 / own_effect,
            least_rows=policy.minimum_group_size,
            undecided=undecided,
        )
    trials = like.rate(metric.value).trials
    return Comparison(
        metric,
        name,
        reference_name,
        tolerance,
        counts.rows,
        rates=(
            _thinned(counts.rate(metric.value), own_effect),
            _thinned(reference.rate(metric.value), effect),
        ),
        trials_per_row=trials / like.rows / own_effect,
        least_rows=policy.minimum_group_size,
        undecided=undecided,
    )


def _thinned(rate: Rate, effect: float) -> Rate:
    return Rate(rate.successes / effect, rate.trials / effect)


def _gap_difference(
    counts: GroupCounts, effect: float, reference: GroupCounts, reference_effect: float
) -> MeanDifference | None:
    if counts.rows < 2 or reference.rows < 2:
        return None
    units, reference_units = counts.rows / effect, reference.rows / reference_effect
    own, other = counts.gap_deviation, reference.gap_deviation
    error = float(np.hypot(own / np.sqrt(units), other / np.sqrt(reference_units)))
    cumulant = counts.gap_third_moment / units**2 - reference.gap_third_moment / reference_units**2
    return MeanDifference(
        value=counts.mean_gap - reference.mean_gap,
        standard_error=error,
        degrees=float(welch_degrees(own, max(units, 2.0), other, max(reference_units, 2.0))),
        deviation=own,
        reference_deviation=other,
        units=int(units),
        skewness=cumulant / (6.0 * error**3) if error > 0.0 else 0.0,
    )


def group_figures(
    name: str, counts: GroupCounts, confidence: float, design_effect: DesignEffect = _independent
) -> dict[str, Any]:
    """A group's figures with their own intervals, plain JSON values; null where nothing was measured."""
    figures: dict[str, Any] = {"count": counts.rows, "positives": counts.positives}
    for metric in RATES:
        rate = _thinned(counts.rate(metric), design_effect(name, metric))
        figures[metric] = interval_json(rate.interval(confidence))
    figures["calibration"] = interval_json(_gap_interval(counts, confidence))
    return figures


def _gap_interval(counts: GroupCounts, confidence: float) -> Interval | None:
    if counts.rows < 2:
        return None
    half = float(ndtri(0.5 + 0.5 * confidence)) * counts.gap_deviation / float(np.sqrt(counts.rows))
    gap = counts.mean_gap
    return Interval(gap, gap - half, gap + half, confidence, IntervalMethod.NORMAL_APPROXIMATION, counts.rows)


def lacking_intersections(tables: Tables, policy: FairnessPolicy) -> list[str]:
    """Intersections that the policy asks for and that no row belongs to."""
    titles = [AND.join(names) for names in policy.intersections]
    return [title for title in titles if not tables.get(title)]
