"""What a model is for, and by which figure it is compared with the version that serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import Field

from streamrec.contracts.json_documents import STRICT
from streamrec.contracts.specification.fields import AttributeName, Confidence, FunctionName, Share


class Task(StrEnum):
    """What a model answers."""

    RANKING = "ranking"
    """An order of the candidates that it is given."""
    RETRIEVAL = "retrieval"
    """Items out of all there are."""
    CLASSIFICATION = "classification"
    """The chance that the label is 1; labels are 0 and 1."""
    REGRESSION = "regression"
    """A number in the unit of the label."""
    SCORE = "score"
    """A number of which larger means more, without a unit."""

    @property
    def answers_items(self) -> bool:
        """Whether an answer is a list of items; else it is one number."""
        return self in (Task.RANKING, Task.RETRIEVAL)


class QualityMetric(StrEnum):
    """A figure over the evaluation data, one number a request or one over all of them."""

    NDCG = "ndcg"
    RECALL = "recall"
    HIT_RATE = "hit_rate"
    RECIPROCAL_RANK = "reciprocal_rank"
    ROC_AUC = "roc_auc"
    AVERAGE_PRECISION = "average_precision"
    ACCURACY = "accuracy"
    LOG_LOSS = "log_loss"
    BRIER = "brier"
    ABSOLUTE_ERROR = "absolute_error"
    SQUARED_ERROR = "squared_error"
    RANK_CORRELATION = "rank_correlation"

    @property
    def larger_is_better(self) -> bool:
        """Losses and errors are better when they are smaller."""
        return self not in _LOSSES


_LOSSES: Final = frozenset(
    {
        QualityMetric.LOG_LOSS,
        QualityMetric.BRIER,
        QualityMetric.ABSOLUTE_ERROR,
        QualityMetric.SQUARED_ERROR,
    }
)
_OF_LISTS: Final = (
    QualityMetric.NDCG,
    QualityMetric.RECALL,
    QualityMetric.HIT_RATE,
    QualityMetric.RECIPROCAL_RANK,
)
METRICS_OF_TASK: Final[Mapping[Task, tuple[QualityMetric, ...]]] = MappingProxyType(
    {
        Task.RANKING: _OF_LISTS,
        Task.RETRIEVAL: (QualityMetric.RECALL, *(name for name in _OF_LISTS if name != QualityMetric.RECALL)),
        Task.CLASSIFICATION: (
            QualityMetric.ROC_AUC,
            QualityMetric.AVERAGE_PRECISION,
            QualityMetric.ACCURACY,
            QualityMetric.LOG_LOSS,
            QualityMetric.BRIER,
        ),
        Task.REGRESSION: (
            QualityMetric.SQUARED_ERROR,
            QualityMetric.ABSOLUTE_ERROR,
            QualityMetric.RANK_CORRELATION,
        ),
        Task.SCORE: (QualityMetric.RANK_CORRELATION, QualityMetric.ROC_AUC, QualityMetric.AVERAGE_PRECISION),
    }
)
"""Which figures fit a task; the first is taken where the specification names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityPolicy:
    """Not worse than the champion by more than a margin, on a confidence bound.

    Attributes:
        metric: None: the task's own, the first in `METRICS_OF_TASK`.
        at: Positions of a list that count; of no meaning where the answer is one number.
        margin: How much worse than the champion is still no harm, as a share of the champion's value.
        floor: What a first version without a champion must reach, in units of the metric: a least value, or
            a largest one where smaller is better. None: a first version is inconclusive.
        threshold: From which score on a classification says yes.
        confidence: Of the bound that decides, one-sided.
        minimum_units: With fewer units in the validation split nothing is decided.
    """

    __pydantic_config__ = STRICT

    metric: QualityMetric | None = None
    at: Annotated[int, Field(ge=1, le=1_000)] = 10
    margin: Annotated[float, Field(ge=0.0, lt=1.0, allow_inf_nan=False)] = 0.02
    floor: Annotated[float, Field(allow_inf_nan=False)] | None = None
    threshold: Share = 0.5
    confidence: Confidence = 0.95
    minimum_units: Annotated[int, Field(ge=2, le=10_000_000)] = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SkewPolicy:
    """Features as trained against features as served, for the same entities and times.

    Attributes:
        features: ``module:function`` that computes features as training does: given the data folder and a
            table with the columns unit and at (UTC), it returns their rows in that order. None: requests
            bring all features.
        given: Features that a request itself brings, such as what its earlier pages have shown: no training
            computes them, so they are not compared.
        differing_share: Largest share of compared values that may differ.
        metric_loss: How much of the offline metric may be lost on the logged traffic, as a share of it.
        minimum_rows: With fewer compared rows nothing is decided.
        confidence: Of the bound that decides, one-sided.
    """

    __pydantic_config__ = STRICT

    features: FunctionName | None = None
    given: Annotated[tuple[AttributeName, ...], Field(max_length=64)] = ()
    differing_share: Share = 0.01
    metric_loss: Share = 0.05
    minimum_rows: Annotated[int, Field(ge=1, le=10_000_000)] = 200
    confidence: Confidence = 0.95
