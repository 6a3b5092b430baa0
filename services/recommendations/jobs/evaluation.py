"""Evaluate every model of the spoke and the baselines by the protocol of `streamrec.training.evaluation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from services.recommendations.evaluation.acceptance import Bar, DataSize, measure_bars
from services.recommendations.evaluation.sections import EvaluationSections
from services.recommendations.jobs.evaluated_models import EvaluatedModels
from services.recommendations.jobs.evaluation_sections import SECTION_MODELS, measure_sections
from services.recommendations.jobs.training import TrainingJob, TrainingSettings
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.intervals import Interval
from streamrec.contracts.progress import Progress
from streamrec.datasets.dataset import Dataset
from streamrec.registry.model_registry import ModelRegistry
from streamrec.training.baselines import BASELINES
from streamrec.training.evaluation import ModelEvaluation, evaluate, evaluation_report, paired_difference

MODELS: Final = (*BASELINES, "two_tower", "ranker", "student", "pipeline")
"""Everything that ranks the whole catalogue, by the name it is reported under."""

CHOICES: Final = (*MODELS, *SECTION_MODELS)
"""Everything that can be evaluated."""

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
        sections: What was measured beyond ranking metrics.
        bars: What the models are held to, beside the figures.
    """

    evaluations: Mapping[str, ModelEvaluation]
    comparisons: Mapping[str, Interval]
    sections: EvaluationSections
    bars: tuple[Bar, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: the ranking figures, ``comparisons``, a key per section, and ``bars``."""
        return {
            **evaluation_report(self.evaluations),
            "comparisons": {
                f"ranker - {name}": {"ndcg@10": difference.to_json()}
                for name, difference in self.comparisons.items()
            },
            **self.sections.to_json(),
            "bars": [bar.to_json() for bar in self.bars],
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
        models: Some of `CHOICES`; all of them when None. Only what these need is trained.
        seed: Of training, of the sample of users and of the bootstrap.
        progress: Where progress is shown.
        settings: Training settings by stage.

    Raises:
        InvalidInputError: A name is not one of `CHOICES`, or no user has enough interactions to be evaluated.
    """
    chosen = [name for name in CHOICES if models is None or name in models]
    unknown = [name for name in models or () if name not in CHOICES]
    if unknown or not chosen:
        raise InvalidInputError("models", f"{', '.join(unknown) or 'none'}: choose from {', '.join(CHOICES)}")
    job = TrainingJob(dataset, registry, work_folder, seed, progress, settings or TrainingSettings())
    return evaluate_job(job, chosen)


def evaluate_job(job: TrainingJob, chosen: Sequence[str]) -> EvaluationReport:
    """Evaluate some of `CHOICES` with the job's versions, its seed and its progress display."""
    models, progress, seed = EvaluatedModels(job), job.progress, job.seed
    makers = models.top_items()
    fitted = {name: makers[name]() for name in chosen if name in makers}
    evaluations: dict[str, ModelEvaluation] = {}
    progress.start("evaluate", len(fitted))
    for name, model in fitted.items():
        limit = PIPELINE_USERS if name == "pipeline" else MAXIMUM_USERS
        evaluations[name] = evaluate(model, job.split, seed=seed, max_users=limit)
        progress.advance(note=f"{name} NDCG@10 {evaluations[name].metrics['ndcg@10'].value:.4f}")
    progress.finish()
    sections = measure_sections(models, chosen, evaluations, seed=seed, progress=progress)
    size = DataSize(items=len(job.split.catalogue), interactions=len(job.dataset.positive_interactions))
    bars = measure_bars(evaluations, sections, size, baselines=tuple(BASELINES))
    return EvaluationReport(evaluations, _comparisons(evaluations, seed), sections, bars)


def _comparisons(evaluations: Mapping[str, ModelEvaluation], seed: int) -> dict[str, Interval]:
    ranker = evaluations.get("ranker")
    if ranker is None:
        return {}
    comparable = {
        name: other
        for name, other in evaluations.items()
        if name != "ranker" and np.array_equal(other.users, ranker.users)
    }
    return {
        name: paired_difference(ranker, other, "ndcg@10", seed=seed) for name, other in comparable.items()
    }
