"""Measures the sections of the evaluation that the evaluated models allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from services.recommendations.cold_start.assessment import Cases
from services.recommendations.cold_start.model import ColdStartModel
from services.recommendations.cold_start.predictive import coverage
from services.recommendations.evaluation.distillation import Distillation, measure_distillation
from services.recommendations.evaluation.exposure_frontier import exposure_frontier
from services.recommendations.evaluation.held_out_users import HeldOutUser, held_out_users
from services.recommendations.evaluation.index_search import IndexSearch, measure_index
from services.recommendations.evaluation.learning_curves import read_learning_curve
from services.recommendations.evaluation.sections import CoveragePoint, EvaluationSections
from services.recommendations.evaluation.short_histories import measure_cold_start
from services.recommendations.evaluation.slate_exposure import compare_slates, slate_requests
from services.recommendations.evaluation.stage_latency import (
    TIMED_CALLS,
    ranking_requests,
    reranking_latency,
)
from services.recommendations.jobs.evaluated_models import EvaluatedModels
from services.recommendations.training.input import RANKING_TEACHER
from streamrec.contracts.progress import Progress
from streamrec.training.evaluation import ModelEvaluation

SECTION_MODELS: Final = ("cold_start", "reranking")
"""What can be evaluated without ranking the whole catalogue: each has a section and no ranking metrics."""

SHORT_HISTORY_USERS: Final = 500
"""Each answers once per history length."""
SLATE_USERS: Final = 1_000
"""Known users whose requests are re-ranked; half as many new ones are added."""
INDEX_QUERIES: Final = 300

CURVES: Final[Mapping[str, str]] = {
    "two_tower": "retrieval",
    "ranker": RANKING_TEACHER,
    "student": "ranking",
}
"""Stage whose artifact may hold a learning curve, by evaluated model."""


def measure_sections(
    models: EvaluatedModels,
    chosen: Sequence[str],
    evaluations: Mapping[str, ModelEvaluation],
    *,
    seed: int,
    progress: Progress,
) -> EvaluationSections:
    """Measure each section whose models are among ``chosen``; the others are None or empty."""
    job = models.job
    with_cold_start, with_reranking = "cold_start" in chosen, "reranking" in chosen
    users = held_out_users(job.dataset, job.split, count=SHORT_HISTORY_USERS, seed=seed)
    curves = {
        name: read_learning_curve(models.folder(stage)) for name, stage in CURVES.items() if name in chosen
    }
    cold_start = slates = latency = frontier = None
    covered: tuple[CoveragePoint, ...] = ()
    if with_cold_start:
        progress.start("evaluate: short histories", len(users))
        cold_start = measure_cold_start(
            models.cold_start, users, job.dataset, job.split, seed=seed, advance=progress.advance
        )
        progress.finish()
        covered = predictive_coverage(models.cold_start, users, seed=seed)
    if with_reranking:
        under_test = models.requests(SLATE_USERS, under_test=True)
        requests = slate_requests(under_test)
        progress.start("evaluate: re-ranking", len(requests))
        slates = compare_slates(
            models.reranker, requests, job.split.catalogue, seed=seed, advance=progress.advance
        )
        progress.finish()
        timed = [(request.user, request.candidates) for request in requests[:TIMED_CALLS]]
        latency = reranking_latency(models.reranker, timed)
        frontier = exposure_frontier(
            models.reranker,
            models.requests(SLATE_USERS, under_test=False),
            under_test,
            maximum_relevance_loss=job.settings.reranking.maximum_relevance_loss,
            seed=seed,
        )
    return EvaluationSections(
        cold_start=cold_start,
        coverage=covered,
        slates=slates,
        reranking_latency=latency,
        frontier=frontier,
        student=_distillation(models, evaluations, users, seed)
        if {"student", "ranker"} <= evaluations.keys()
        else None,
        index=_index(models, users, seed) if "two_tower" in chosen else None,
        learning_curves={name: curve for name, curve in curves.items() if curve},
    )


def predictive_coverage(
    model: ColdStartModel, users: Sequence[HeldOutUser], *, seed: int
) -> tuple[CoveragePoint, ...]:
    """Coverage of the model's predictive intervals on the test items that its index holds."""
    row_of = model.index.row_of
    known = [user for user in users if user.target in row_of]
    targets = np.array([row_of[user.target] for user in known], dtype=np.int64)
    cases = Cases.cut([user.state for user in known], targets, row_of)
    points = coverage(model, cases, rng=np.random.default_rng(seed))
    return tuple(CoveragePoint(*point) for point in points)


def _distillation(
    models: EvaluatedModels,
    evaluations: Mapping[str, ModelEvaluation],
    users: Sequence[HeldOutUser],
    seed: int,
) -> Distillation:
    states = [user.state for user in users[:TIMED_CALLS]]
    return measure_distillation(
        (models.student, evaluations["student"]),
        (models.ranker, evaluations["ranker"]),
        ranking_requests(states, models.job.split.catalogue.item_ids, seed=seed),
        seed=seed,
    )


def _index(models: EvaluatedModels, users: Sequence[HeldOutUser], seed: int) -> IndexSearch:
    queries = [models.retriever.user_vector(user.state) for user in users[:INDEX_QUERIES]]
    return measure_index(models.retriever.index, models.exact_index, queries, seed=seed)
