"""Evaluate every model of the spoke and the baselines by the protocol of `streamrec.training.evaluation`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from services.recommendations.local_models import load_models
from services.recommendations.offline import OfflinePipeline, PipelineTopItems
from services.recommendations.ranking.model import RankingModel
from services.recommendations.ranking.top_items import RankerTopItems
from services.recommendations.retrieval.model import TwoTowerRetriever
from services.recommendations.retrieval.top_items import RetrieverTopItems
from services.recommendations.training_job import STAGES, TrainingJob, TrainingSettings
from services.recommendations.user_states import segments_by_user
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.progress import Progress
from streamrec.datasets.dataset import Dataset
from streamrec.features.store import ItemTable
from streamrec.registry.model_registry import ModelRegistry
from streamrec.training.baselines import BASELINES
from streamrec.training.evaluation import (
    ModelEvaluation,
    TopItems,
    evaluate,
    evaluation_report,
    paired_difference,
)

MODELS: Final = (*BASELINES, "two_tower", "ranker", "pipeline")
"""Everything that can be evaluated, by the name it is reported under."""

MAXIMUM_USERS: Final = 10_000
"""More users than this are sampled: their interval is already narrower than any difference that matters."""

PIPELINE_USERS: Final = 1_500
"""The pipeline answers one request at a time, as it does when serving, so it is given fewer users."""


@dataclass(frozen=True)
class EvaluationReport:
    """Figures of the evaluated models, and of how the ranker compares.

    Attributes:
        evaluations: Result by model name, in the order of `MODELS`.
        comparisons: Paired difference in NDCG@10 between the ranker and every other model that was measured
            on the same users; empty where the ranker was not evaluated.
    """

    evaluations: Mapping[str, ModelEvaluation]
    comparisons: Mapping[str, Mapping[str, float]]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: ``models``, ``breakdowns``, ``protocol`` and ``comparisons``."""
        return {
            **evaluation_report(self.evaluations),
            "comparisons": {
                f"ranker - {name}": {"ndcg@10": dict(difference)}
                for name, difference in self.comparisons.items()
            },
        }


def evaluate_models(
    dataset: Dataset,
    registry: ModelRegistry,
    work_folder: Path,
    *,
    models: Sequence[str] | None,
    seed: int,
    progress: Progress,
    settings: TrainingSettings | None = None,
) -> EvaluationReport:
    """Train what is missing and evaluate it on each user's last item. Promotes nothing.

    Args:
        dataset: What to train and evaluate on.
        registry: Where trained versions are found and new ones go.
        work_folder: Artifacts are written below here before they are registered.
        models: Some of `MODELS`; all of them when None. Only what these need is trained.
        seed: Of training, of the sample of users and of the bootstrap.
        progress: Where progress is shown.
        settings: Training settings by stage.

    Raises:
        InvalidInputError: A name is not one of `MODELS`, or no user has enough interactions to be evaluated.
    """
    chosen = [name for name in MODELS if models is None or name in models]
    unknown = [name for name in models or () if name not in MODELS]
    if unknown or not chosen:
        raise InvalidInputError("models", f"{', '.join(unknown) or 'none'}: choose from {', '.join(MODELS)}")
    job = TrainingJob(dataset, registry, work_folder, seed, progress, settings or TrainingSettings())
    makers = _makers(job)
    fitted = {name: makers[name]() for name in chosen}
    evaluations: dict[str, ModelEvaluation] = {}
    progress.start("evaluate", len(chosen))
    for name, model in fitted.items():
        limit = PIPELINE_USERS if name == "pipeline" else MAXIMUM_USERS
        evaluations[name] = evaluate(model, job.split, seed=seed, max_users=limit)
        progress.advance(note=f"{name} NDCG@10 {evaluations[name].metrics['ndcg@10'].value:.4f}")
    progress.finish()
    return EvaluationReport(evaluations, _comparisons(evaluations, seed))


def pipeline_of(job: TrainingJob) -> OfflinePipeline:
    """The whole pipeline over the job's versions, trained if need be, with the items as serving sees them."""
    models = load_models(job.registry, {stage: job.version(stage) for stage in STAGES})
    catalogue = job.dataset.catalogue
    counts = np.bincount(job.split.history.items, minlength=len(catalogue)).astype(np.int64)
    return OfflinePipeline(models, ItemTable(catalogue, counts, revision=job.dataset.fingerprint))


def _makers(job: TrainingJob) -> dict[str, Callable[[], TopItems]]:
    """How to get each model ready, by name; nothing is trained before its maker is called."""
    train, item_count = job.split.train, len(job.dataset.catalogue)
    makers: dict[str, Callable[[], TopItems]] = {
        name: partial(fit, train, item_count) for name, fit in BASELINES.items()
    }

    def two_tower() -> TopItems:
        model = TwoTowerRetriever.load(job.registry.fetch(job.version("retrieval")))
        return RetrieverTopItems(model, job.dataset.catalogue, segments_by_user(job.dataset))

    def ranker() -> TopItems:
        model = RankingModel.load(job.registry.fetch(job.version("ranking")))
        return RankerTopItems(model, segments_by_user(job.dataset))

    def pipeline() -> TopItems:
        return PipelineTopItems(pipeline_of(job), segments_by_user(job.dataset))

    return {**makers, "two_tower": two_tower, "ranker": ranker, "pipeline": pipeline}


def _comparisons(evaluations: Mapping[str, ModelEvaluation], seed: int) -> dict[str, dict[str, float]]:
    ranker = evaluations.get("ranker")
    if ranker is None:
        return {}
    comparable = {
        name: other
        for name, other in evaluations.items()
        if name != "ranker" and np.array_equal(other.users, ranker.users)
    }
    differences = {
        name: paired_difference(ranker, other, "ndcg@10", seed=seed) for name, other in comparable.items()
    }
    return {
        name: {"value": interval.value, "low": interval.low, "high": interval.high}
        for name, interval in differences.items()
    }
