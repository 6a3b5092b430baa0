"""Auditing rows that come in chunks: counts by group are all that is kept of them, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.specification.fairness_policy import FairnessMetric, FairnessPolicy
from streamrec.gates.fairness.counted import COUNTED_METRICS, counted_comparisons, group_figures
from streamrec.gates.fairness.evidence import (
    CHANCE_THRESHOLD,
    FairnessEvidence,
    notes_of_missing,
    problems_of_attributes,
)
from streamrec.gates.fairness.groups import AND, partitions, refuse_ids
from streamrec.gates.gate_results import reason
from streamrec.stats.fairness_counts import GroupCounts, count_groups

AUDITED_METRICS: Final[Mapping[FairnessMetric, float]] = MappingProxyType(
    {FairnessMetric.SELECTION_RATE: 0.1, FairnessMetric.TPR: 0.1, FairnessMetric.FPR: 0.1}
)
"""Tolerances of an audit without a policy."""


@dataclass(frozen=True, eq=False, slots=True)
class AuditedChunk:
    """Some rows.

    Attributes:
        first_row: Number of the first, from 1, for messages.
        labels: Shape (rows,), 0 or 1.
        scores: Shape (rows,), finite.
        groups: By attribute: text or None, shape (rows,); NumPy or Arrow.
    """

    first_row: int
    labels: NDArray[np.float64]
    scores: NDArray[np.float64]
    groups: Mapping[str, Any]


def default_policy(attributes: Sequence[str]) -> FairnessPolicy:
    """What an audit without a policy is decided by.

    Raises:
        InvalidInputError: Names of columns that cannot stand in names of groups, or one twice.
    """
    for name in attributes:
        if not name or any(character in name for character in "=&,") or len(name) > 64:
            raise InvalidInputError(
                "--groups", f"{name!r} cannot be the name of an attribute; rename the column"
            )
    return FairnessPolicy(attributes=tuple(attributes), metrics=dict(AUDITED_METRICS))


def audit_rows(
    subject: str, chunks: Iterable[AuditedChunk], policy: FairnessPolicy, threshold: float | None = None
) -> FairnessEvidence:
    """Count every group and collect what an audit decides by.

    Args:
        subject: What is audited.
        chunks: The rows.
        policy: Attributes and tolerances; other metrics than those of single numbers cannot be decided.
        threshold: Scores from here on are a yes; None: the policy's, else 0.5 where scores are chances.

    Raises:
        InvalidInputError: There are no rows, a column of groups is none, or scores are no chances and no
            threshold is given.
    """
    given = threshold if threshold is not None else policy.threshold
    cut = CHANCE_THRESHOLD if given is None else given
    tables: dict[str, dict[str, GroupCounts]] = {}
    rows, chances = 0, True
    for chunk in chunks:
        outside = np.flatnonzero((chunk.scores < 0.0) | (chunk.scores > 1.0))
        if len(outside) and given is None:
            raise InvalidInputError(
                "--threshold",
                f"must be given: scores are no chances (row {chunk.first_row + outside[0]} has "
                f"{chunk.scores[outside[0]]:g}), so nobody knows which of them are a yes",
            )
        chances &= not len(outside)
        rows += len(chunk.labels)
        _count(chunk, policy, cut, tables)
    if rows == 0:
        raise InvalidInputError("rows", "there are none: nothing can be audited")
    metrics = dict(policy.metrics or AUDITED_METRICS)
    problems = problems_of_attributes(tables, policy)
    decided = {metric: limit for metric, limit in metrics.items() if metric in COUNTED_METRICS}
    problems += [
        reason(
            "metric_not_measurable",
            f"metrics.{metric}",
            f"{metric} is no figure of single scores: leave it out",
        )
        for metric in metrics
        if metric not in COUNTED_METRICS
    ]
    if not chances and FairnessMetric.CALIBRATION in decided:
        del decided[FairnessMetric.CALIBRATION]
        problems.append(
            reason("scores_no_chances", "metrics.calibration", "calibration takes scores between 0 and 1")
        )
    return FairnessEvidence(
        subject=subject,
        rows=rows,
        metrics=metrics,
        groups={
            name: group_figures(name, counts, policy.confidence)
            for groups in tables.values()
            for name, counts in groups.items()
        },
        comparisons=tuple(counted_comparisons(tables, policy, decided)),
        problems=tuple(problems),
        notes=tuple(notes_of_missing(tables, policy)),
        threshold=cut,
        confidence=policy.confidence,
    )


def _count(
    chunk: AuditedChunk, policy: FairnessPolicy, threshold: float, tables: dict[str, dict[str, GroupCounts]]
) -> None:
    for part in partitions(chunk.groups, policy):
        known = tables.setdefault(part.title, {})
        rows = part.codes >= 0
        found = count_groups(
            part.codes[rows], chunk.labels[rows], chunk.scores[rows], threshold, len(part.names)
        )
        for name, counts in zip(part.names, found, strict=True):
            if counts.rows:
                known[name] = known.get(name, GroupCounts()) + counts
        refuse_ids(AND.join(part.attributes), len(known))
