"""The figures that versions are compared by, each with its error by unit. Pure.

Values stay in their own unit; `QualityMetric.larger_is_better` says which way is good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.specification.quality_policy import QualityMetric
from streamrec.stats.clustered import (
    ClusteredEstimate,
    Units,
    clustered_area_under_curve,
    clustered_mean,
)
from streamrec.stats.clustered_ranks import clustered_average_precision, clustered_rank_correlation

_CERTAIN: Final = 1e-15
"""A chance closer to 0 or 1 than this counts as this close: the loss of being wrong for certain is finite."""

Floats = NDArray[np.float64]


def metric_of_numbers(
    metric: QualityMetric, labels: Floats, scores: Floats, units: Units, *, threshold: float = 0.5
) -> ClusteredEstimate:
    """The figure of answers that are one number.

    Args:
        metric: One that fits such answers.
        labels: Shape (n,), finite; 0 and 1 for figures of a classification.
        scores: Shape (n,), finite; chances for log loss, Brier score and accuracy.
        units: Of the rows.
        threshold: From which score on the answer is yes, for accuracy.

    Raises:
        InvalidInputError: The figure is none of these, or labels or scores do not allow it.
    """
    figure = _OF_NUMBERS.get(metric)
    if figure is None:
        raise InvalidInputError("quality.metric", f"{metric} is no figure of answers that are one number")
    if metric in _OF_CHANCES and (scores.min() < 0.0 or scores.max() > 1.0):
        raise InvalidInputError("score", f"must be a chance, 0 to 1, for {metric}")
    if metric in _OF_CLASSES and not np.isin(labels, (0.0, 1.0)).all():
        raise InvalidInputError("label", f"must be 0 or 1 for {metric}")
    try:
        return figure(labels, scores, units, threshold)
    except ValueError as error:
        raise InvalidInputError("label", f"does not allow {metric}: {error}") from error


def metric_of_lists(
    metric: QualityMetric,
    item_ids: Sequence[Sequence[str]],
    relevant: Sequence[Sequence[str]],
    units: Units,
    *,
    at: int,
) -> ClusteredEstimate:
    """The figure of answers that are lists of items.

    Args:
        metric: One that fits such answers.
        item_ids: Of each request: the items, best first.
        relevant: Of each request: the items that were right, at least one.
        units: Of the requests.
        at: Positions that count.

    Raises:
        InvalidInputError: The figure is none of these, or a request has no right item.
    """
    figure = _OF_LISTS.get(metric)
    if figure is None:
        raise InvalidInputError("quality.metric", f"{metric} is no figure of lists of items")
    values = np.empty(len(relevant))
    for row, (answer, right) in enumerate(zip(item_ids, relevant, strict=True)):
        wanted = frozenset(right)
        if not wanted:
            raise InvalidInputError(f"relevant.{row}", "must hold at least one item")
        found = [place for place, item_id in enumerate(answer[:at]) if item_id in wanted]
        values[row] = figure(np.array(found, dtype=np.float64), len(wanted), at)
    return clustered_mean(values, units)


def _ndcg(found: Floats, wanted: int, at: int) -> float:
    """Järvelin and Kekäläinen 2002, eq. 3, binary relevance."""
    ideal = (1.0 / np.log2(np.arange(min(wanted, at)) + 2.0)).sum()
    return float((1.0 / np.log2(found + 2.0)).sum() / ideal)


def _recall(found: Floats, wanted: int, at: int) -> float:
    """Of what could be found in so many places."""
    return found.size / min(wanted, at)


def _hit_rate(found: Floats, wanted: int, at: int) -> float:  # noqa: ARG001 - one of several
    return float(found.size > 0)


def _reciprocal_rank(found: Floats, wanted: int, at: int) -> float:  # noqa: ARG001 - one of several
    return float(1.0 / (found[0] + 1.0)) if found.size else 0.0


def _log_loss(labels: Floats, scores: Floats, units: Units, threshold: float) -> ClusteredEstimate:  # noqa: ARG001
    chances = np.clip(scores, _CERTAIN, 1.0 - _CERTAIN)
    return clustered_mean(-(labels * np.log(chances) + (1.0 - labels) * np.log(1.0 - chances)), units)


_OF_LISTS: Final[Mapping[QualityMetric, Callable[[Floats, int, int], float]]] = {
    QualityMetric.NDCG: _ndcg,
    QualityMetric.RECALL: _recall,
    QualityMetric.HIT_RATE: _hit_rate,
    QualityMetric.RECIPROCAL_RANK: _reciprocal_rank,
}

_OF_NUMBERS: Final[Mapping[QualityMetric, Callable[[Floats, Floats, Units, float], ClusteredEstimate]]] = {
    QualityMetric.ROC_AUC: lambda labels, scores, units, _: clustered_area_under_curve(
        scores, labels == 1.0, units
    ),
    QualityMetric.AVERAGE_PRECISION: lambda labels, scores, units, _: clustered_average_precision(
        scores, labels == 1.0, units
    ),
    QualityMetric.ACCURACY: lambda labels, scores, units, threshold: clustered_mean(
        ((scores >= threshold) == (labels == 1.0)).astype(np.float64), units
    ),
    QualityMetric.LOG_LOSS: _log_loss,
    QualityMetric.BRIER: lambda labels, scores, units, _: clustered_mean((scores - labels) ** 2, units),
    QualityMetric.ABSOLUTE_ERROR: lambda labels, scores, units, _: clustered_mean(
        np.abs(scores - labels), units
    ),
    QualityMetric.SQUARED_ERROR: lambda labels, scores, units, _: clustered_mean(
        (scores - labels) ** 2, units
    ),
    QualityMetric.RANK_CORRELATION: lambda labels, scores, units, _: clustered_rank_correlation(
        scores, labels, units
    ),
}

_OF_CHANCES: Final = (QualityMetric.LOG_LOSS, QualityMetric.BRIER)
_OF_CLASSES: Final = (
    QualityMetric.ROC_AUC,
    QualityMetric.AVERAGE_PRECISION,
    QualityMetric.ACCURACY,
    QualityMetric.LOG_LOSS,
    QualityMetric.BRIER,
)
