"""What the fairness gate decides by, and collecting it out of a predictions table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.results import Reason
from streamrec.contracts.specification.fairness_policy import FairnessMetric, FairnessPolicy
from streamrec.contracts.specification.quality_policy import Task
from streamrec.gates.fairness.counted import (
    COUNTED_METRICS,
    Tables,
    counted_comparisons,
    group_figures,
)
from streamrec.gates.fairness.design_effects import DesignEffects
from streamrec.gates.fairness.differences import Comparison
from streamrec.gates.fairness.groups import AND, Partition, is_missing, partitions
from streamrec.gates.fairness.listed import LISTED_METRICS, ListedGroups
from streamrec.gates.fairness.thresholds import fit_group_thresholds
from streamrec.gates.gate_results import reason
from streamrec.gates.predictions import Predictions
from streamrec.stats.fairness_counts import GroupCounts, count_groups

LIST_DEPTH: Final = 10
CHANCE_THRESHOLD: Final = 0.5

_SAME: Final = 1e-12

_ERROR_RATES: Final = {FairnessMetric.TPR: 0.1, FairnessMetric.FPR: 0.1}
_LISTS: Final = {FairnessMetric.NDCG: 0.1, FairnessMetric.EXPOSURE: 0.2}

METRICS_OF_TASK: Final[Mapping[Task, Mapping[FairnessMetric, float]]] = MappingProxyType(
    {
        Task.CLASSIFICATION: _ERROR_RATES,
        Task.RANKING: _LISTS,
        Task.RETRIEVAL: _LISTS,
        Task.REGRESSION: {},
        Task.SCORE: {},
    }
)
"""Tolerances where a policy names none. Of numbers without a unit only a policy knows what matters."""


@dataclass(frozen=True, slots=True)
class FairnessEvidence:
    """What was measured.

    Attributes:
        subject: ``NAME@VERSION``, or what was audited.
        rows: Of the data.
        metrics: Tolerances that are decided by.
        groups: Figures by group, plain JSON values.
        comparisons: All that the policy requires.
        problems: What could not be measured at all.
        notes: What else there is to know.
        threshold: From which score on the answer is yes; None where answers are lists.
        confidence: Of the decision.
        mitigation: Group thresholds that would even it out, and what they cost; None where there are none.
    """

    subject: str
    rows: int
    metrics: Mapping[FairnessMetric, float]
    groups: Mapping[str, Mapping[str, Any]]
    comparisons: tuple[Comparison, ...]
    problems: tuple[Reason, ...]
    confidence: float
    notes: tuple[Reason, ...] = ()
    threshold: float | None = None
    mitigation: Mapping[str, Any] | None = None


def collect_fairness(
    subject: str,
    predictions: Predictions,
    policy: FairnessPolicy,
    *,
    metrics: Mapping[FairnessMetric, float] | None = None,
    item_groups: Mapping[str, Mapping[str, str]] | None = None,
    at: int = LIST_DEPTH,
) -> FairnessEvidence:
    """Measure every group of a policy.

    Args:
        subject: What is judged.
        predictions: What it answered.
        policy: Of its specification.
        metrics: Tolerances to decide by; None: the policy's, or those of the task where it names none.
        item_groups: Groups of items by attribute, then by item, for exposure: the whole catalogue.
        at: Positions of a list that count.

    Raises:
        InvalidInputError: A column of groups is none.
    """
    named = policy.metrics if metrics is None else metrics
    decided = dict(named) if named or metrics is not None else dict(METRICS_OF_TASK[predictions.task])
    if predictions.task.answers_items:
        return _of_lists(subject, predictions, policy, decided, named, item_groups or {}, at)
    return _of_numbers(subject, predictions, policy, decided)


def _of_numbers(
    subject: str,
    predictions: Predictions,
    policy: FairnessPolicy,
    metrics: dict[FairnessMetric, float],
) -> FairnessEvidence:
    labels, scores = predictions.labels, predictions.scores
    assert labels is not None  # noqa: S101 - a predictions table of this task has both
    assert scores is not None  # noqa: S101
    parts = list(partitions(predictions.groups, policy))
    threshold, problems = _threshold(predictions, policy, metrics)
    cut = np.inf if threshold is None else threshold
    tables = {part.title: counts_of(part, labels, scores, cut) for part in parts}
    effects = DesignEffects(parts, labels, scores, cut, predictions.units)
    problems += problems_of_attributes(tables, policy) + _unmeasurable(
        metrics, COUNTED_METRICS, predictions.task
    )
    decided = {metric: limit for metric, limit in metrics.items() if metric in COUNTED_METRICS}
    if threshold is not None and np.isin(labels, (0.0, 1.0)).all():
        problems += [
            problem for part in parts for problem in _disagreements(part, tables, labels, scores >= cut)
        ]
    if threshold is None:
        decided = {metric: limit for metric, limit in decided.items() if metric is FairnessMetric.CALIBRATION}
    comparisons = tuple(counted_comparisons(tables, policy, decided, effects))
    return FairnessEvidence(
        subject=subject,
        rows=len(predictions),
        metrics=metrics,
        groups={
            name: group_figures(name, counts, policy.confidence, effects)
            for groups in tables.values()
            for name, counts in groups.items()
        },
        comparisons=comparisons,
        problems=tuple(problems),
        notes=tuple(notes_of_missing(tables, policy)),
        threshold=threshold,
        confidence=policy.confidence,
        mitigation=None
        if threshold is None
        else _mitigation(comparisons, parts, labels, scores, policy, decided, threshold),
    )


def _mitigation(
    comparisons: tuple[Comparison, ...],
    parts: list[Partition],
    labels: NDArray[np.float64],
    scores: NDArray[np.float64],
    policy: FairnessPolicy,
    tolerances: Mapping[FairnessMetric, float],
    threshold: float,
) -> dict[str, Any] | None:
    """Thresholds for the groups of which two are farthest apart; None where none are too far apart."""
    farthest = max(comparisons, key=_excess, default=None)
    if farthest is None or _excess(farthest) <= 1.0:
        return None
    part = next(part for part in parts if farthest.reference in part.names)
    fitted = fit_group_thresholds(part, labels, scores, policy, tolerances, threshold)
    return None if fitted is None else fitted.to_json()


def _excess(comparison: Comparison) -> float:
    """A difference of rates, in tolerances."""
    if comparison.rates is None or comparison.undecided is not None:
        return 0.0
    own, reference = (rate.value for rate in comparison.rates)
    return 0.0 if own is None or reference is None else abs(own - reference) / comparison.tolerance


def _threshold(
    predictions: Predictions, policy: FairnessPolicy, metrics: Mapping[FairnessMetric, float]
) -> tuple[float | None, list[Reason]]:
    threshold = policy.threshold
    if threshold is None and predictions.task is Task.CLASSIFICATION:
        threshold = CHANCE_THRESHOLD
    by_threshold = [metric for metric in metrics if metric in COUNTED_METRICS - {FairnessMetric.CALIBRATION}]
    if not by_threshold:
        return threshold, []
    if threshold is None:
        return None, [
            reason(
                "threshold_missing",
                "fairness.threshold",
                f"{by_threshold[0]} needs to know which scores are a yes: name fairness.threshold",
            )
        ]
    labels = predictions.labels
    if labels is not None and not np.isin(labels, (0.0, 1.0)).all():
        return None, [reason("labels_not_binary", "label", f"{by_threshold[0]} needs labels that are 0 or 1")]
    return threshold, []


def counts_of(
    part: Partition, labels: NDArray[np.float64], scores: NDArray[np.float64], threshold: float
) -> dict[str, GroupCounts]:
    """Counts of every group that has rows; arguments as of `count_groups`."""
    rows = part.codes >= 0
    counts = count_groups(part.codes[rows], labels[rows], scores[rows], threshold, len(part.names))
    return {name: found for name, found in zip(part.names, counts, strict=True) if found.rows}


def _disagreements(
    part: Partition, tables: Tables, labels: NDArray[np.float64], selected: NDArray[np.bool_]
) -> list[Reason]:
    """Where Fairlearn finds other rates than the counts that are decided by: then nothing is decided."""
    from streamrec.gates.fairness.fairlearn_rates import rates_by_group  # takes a second to import

    return [
        reason(
            "rates_disagree",
            f"groups.{name}.{metric}",
            f"{metric} of {name} is {value!r} by Fairlearn and not so by the counts: report this defect",
        )
        for name, rates in rates_by_group(part, labels, selected).items()
        for metric, value in rates.items()
        if abs(value - (tables[part.title][name].rate(metric).value or 0.0)) > _SAME
    ]


def _of_lists(
    subject: str,
    predictions: Predictions,
    policy: FairnessPolicy,
    metrics: dict[FairnessMetric, float],
    named: Mapping[FairnessMetric, float],
    item_groups: Mapping[str, Mapping[str, str]],
    at: int,
) -> FairnessEvidence:
    items, relevant = predictions.item_ids, predictions.relevant
    assert items is not None  # noqa: S101 - a predictions table of this task has both
    assert relevant is not None  # noqa: S101
    groups = ListedGroups(items, relevant, predictions.units, at=at, policy=policy)
    sizes: dict[str, dict[str, GroupCounts]] = {}
    for part in partitions(predictions.groups, policy):
        groups.compare_users(part, metrics.get(FairnessMetric.NDCG))
        rows = np.bincount(part.codes[part.codes >= 0], minlength=len(part.names))
        sizes[part.title] = {
            name: GroupCounts(rows=int(count)) for name, count in zip(part.names, rows, strict=True) if count
        }
    shown = [name for name in policy.attributes if name in item_groups]
    for name in shown:
        groups.compare_items(name, item_groups[name], metrics.get(FairnessMetric.EXPOSURE))
    of_users = [name for name in policy.attributes if name not in item_groups]
    problems = problems_of_attributes(sizes, policy, elsewhere=shown)
    problems += _unmeasurable(named, LISTED_METRICS, predictions.task)
    for metric, there, what in (
        (FairnessMetric.NDCG, of_users, "users"),
        (FairnessMetric.EXPOSURE, shown, "items"),
    ):
        if metric in named and not there:
            problems.append(
                reason(
                    "attribute_missing",
                    f"fairness.metrics.{metric}",
                    f"{metric} compares groups of {what}, and no attribute of the policy is one of {what}",
                )
            )
    return FairnessEvidence(
        subject=subject,
        rows=len(predictions),
        metrics=metrics,
        groups=groups.figures,
        comparisons=tuple(groups.comparisons),
        problems=tuple(problems),
        notes=tuple(notes_of_missing(sizes, policy)),
        confidence=policy.confidence,
    )


def problems_of_attributes(
    tables: Tables, policy: FairnessPolicy, *, elsewhere: list[str] | None = None
) -> list[Reason]:
    """Attributes without which nothing can be said of them: not there, empty, or the same for everybody.

    Args:
        tables: By title of the partition, then by group.
        policy: Names what must be there.
        elsewhere: Attributes that are measured another way.
    """
    problems = []
    titles = [*policy.attributes, *(AND.join(names) for names in policy.intersections)]
    for title in titles:
        if title in (elsewhere or ()):
            continue
        groups = [name for name in tables.get(title, {}) if not is_missing(name)]
        if not groups:
            problems.append(
                reason(
                    "attribute_missing",
                    f"groups.{title}",
                    f"{title} is missing, or empty in every row: nothing shows that its groups are treated "
                    "alike; add it to the data, or have the policy changed",
                )
            )
        elif len(groups) == 1 and title not in policy.groups:
            problems.append(
                reason(
                    "one_group_only",
                    f"groups.{title}",
                    f"{groups[0]} is the only group of {title} in the data: nobody to compare it with",
                )
            )
    return problems


def notes_of_missing(tables: Tables, policy: FairnessPolicy) -> list[Reason]:
    """Rows that do not say, where they are too few to be compared as a group."""
    return [
        reason(
            "rows_without_attribute",
            f"groups.{title}",
            f"{counts.rows:,} rows do not say their {title}; they are too few to be judged as a group",
        )
        for title, groups in tables.items()
        for name, counts in groups.items()
        if is_missing(name) and counts.rows < policy.minimum_group_size and len(groups) > 1
    ]


def _unmeasurable(
    metrics: Mapping[FairnessMetric, float], possible: frozenset[FairnessMetric], task: Task
) -> list[Reason]:
    if not metrics and task in (Task.REGRESSION, Task.SCORE):
        return [
            reason(
                "no_metric",
                "fairness.metrics",
                f"a model of the task {task} is compared by what the policy names: set fairness.metrics",
            )
        ]
    return [
        reason(
            "metric_not_measurable",
            f"fairness.metrics.{metric}",
            f"{metric} is no figure of the task {task}: leave it out, or name one of "
            f"{', '.join(sorted(possible))}",
        )
        for metric in metrics
        if metric not in possible
    ]
