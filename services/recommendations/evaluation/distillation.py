"""The student beside its teacher: what it keeps of the NDCG, and what one call costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.recommendations.contracts.candidates import Ranker
from services.recommendations.evaluation.call_latency import latency_json
from services.recommendations.evaluation.stage_latency import RankingRequest, ranking_latency
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.intervals import Interval, interval_json
from streamrec.stats.ratios import bootstrap_ratio
from streamrec.training.evaluation import ModelEvaluation, paired_difference
from streamrec.training.model_card import CallLatency


@dataclass(frozen=True)
class Distillation:
    """What the student keeps, and what it saves.

    Attributes:
        ndcg_share: The student's NDCG@10 over the teacher's, with a paired interval over users; None where
            the teacher finds too few items for a ratio.
        ndcg_difference: Student minus teacher, paired.
        teacher, student: Latency of the same calls.
    """

    ndcg_share: Interval | None
    ndcg_difference: Interval
    teacher: CallLatency
    student: CallLatency

    @property
    def time_share(self) -> float:
        """The student's median over the teacher's."""
        return self.student.median_ms / self.teacher.median_ms

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "ndcg@10_share": interval_json(self.ndcg_share),
            "ndcg@10_difference": interval_json(self.ndcg_difference),
            "teacher_latency": latency_json(self.teacher),
            "student_latency": latency_json(self.student),
            "median_time_share": self.time_share,
        }


def measure_distillation(
    student: tuple[Ranker, ModelEvaluation],
    teacher: tuple[Ranker, ModelEvaluation],
    requests: Sequence[RankingRequest],
    *,
    seed: int,
) -> Distillation:
    """Compare the two on the users that both were evaluated on, and time both on the same requests.

    Raises:
        InvalidInputError: The evaluations are of different users, or there are no requests.
    """
    (small, small_evaluation), (large, large_evaluation) = student, teacher
    if not np.array_equal(small_evaluation.users, large_evaluation.users):
        raise InvalidInputError("student", "was not evaluated on the same users as the teacher")
    return Distillation(
        ndcg_share=bootstrap_ratio(
            small_evaluation.per_user("ndcg@10"),
            large_evaluation.per_user("ndcg@10"),
            rng=np.random.default_rng(seed),
        ),
        ndcg_difference=paired_difference(small_evaluation, large_evaluation, "ndcg@10", seed=seed),
        teacher=ranking_latency(large, requests),
        student=ranking_latency(small, requests),
    )
