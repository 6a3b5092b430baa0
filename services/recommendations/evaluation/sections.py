"""Everything that an evaluation measured beyond ranking metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from services.recommendations.evaluation.call_latency import latency_json
from services.recommendations.evaluation.distillation import Distillation
from services.recommendations.evaluation.exposure_frontier import ExposureFrontier
from services.recommendations.evaluation.index_search import IndexSearch
from services.recommendations.evaluation.learning_curves import CurvePoint
from services.recommendations.evaluation.short_histories import ShortHistories
from services.recommendations.evaluation.slate_exposure import SlateComparison
from streamrec.contracts.intervals import Interval
from streamrec.training.model_card import CallLatency


@dataclass(frozen=True)
class CoveragePoint:
    """How often predictive intervals of one nominal coverage hold what came."""

    nominal: float
    empirical: Interval

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"nominal": self.nominal, "empirical": self.empirical.to_json()}


@dataclass(frozen=True)
class EvaluationSections:
    """One part per section; None or empty where the models it needs were not evaluated.

    Attributes:
        cold_start: Short histories of the cold-start model.
        coverage: Of its predictive intervals, by nominal coverage.
        slates: With and without re-ranking.
        reranking_latency: Of one call of the re-ranker.
        frontier: Gini against NDCG@10 by diversity weight, beside greedy MMR, and the lowest Gini there is.
        student: Beside its teacher.
        index: As it serves.
        learning_curves: By model.
    """

    cold_start: ShortHistories | None = None
    coverage: tuple[CoveragePoint, ...] = ()
    slates: SlateComparison | None = None
    reranking_latency: CallLatency | None = None
    frontier: ExposureFrontier | None = None
    student: Distillation | None = None
    index: IndexSearch | None = None
    learning_curves: Mapping[str, tuple[CurvePoint, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )

    def to_json(self) -> dict[str, Any]:
        """``cold_start``, ``reranking``, ``student``, ``index`` and ``learning_curves``."""
        return {
            "cold_start": {
                **self.cold_start.to_json(),
                "coverage": [point.to_json() for point in self.coverage],
            }
            if self.cold_start is not None
            else None,
            "reranking": {
                **self.slates.to_json(),
                "latency": None if self.reranking_latency is None else latency_json(self.reranking_latency),
                **(
                    self.frontier.to_json()
                    if self.frontier is not None
                    else {"frontier": {}, "advantages": []}
                ),
            }
            if self.slates is not None
            else None,
            "student": None if self.student is None else self.student.to_json(),
            "index": None if self.index is None else self.index.to_json(),
            "learning_curves": {
                name: [point.to_json() for point in points] for name, points in self.learning_curves.items()
            },
        }
