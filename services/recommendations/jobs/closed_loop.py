"""From the log of a simulated world to the churn of its new users: train, then run the arms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from services.recommendations.evaluation.closed_loop_arms import ArmResult, run_arms
from services.recommendations.evaluation.closed_loop_policy import PolicyModels
from services.recommendations.jobs.training import SERVED_STAGES, TrainingJob, TrainingSettings
from services.recommendations.pipeline.local_models import load_models
from services.recommendations.pipeline.pipeline import PipelineSettings
from services.recommendations.world.settings import WorldSettings
from streamrec.contracts.progress import Progress
from streamrec.datasets.dataset import Dataset
from streamrec.registry.model_registry import ModelRegistry


def measure_closed_loop(
    world: WorldSettings,
    dataset: Dataset,
    registry: ModelRegistry,
    work_folder: Path,
    *,
    users: int,
    seed: int,
    progress: Progress,
    names: Sequence[str] | None = None,
    settings: TrainingSettings | None = None,
    pipeline: PipelineSettings | None = None,
) -> dict[str, ArmResult]:
    """Train the four models on the world's log where need be, and run arms of new users. Promotes nothing.

    Args:
        world: Settings that ``dataset`` was generated with.
        dataset: The log of the old policy.
        registry: Where trained versions are found and new ones go.
        work_folder: Artifacts are written below here before they are registered.
        users: New users of every arm.
        seed: Of training.
        progress: Where progress is shown.
        names: Some of `closed_loop_arms.ARM_NAMES`; all of them when None.
        settings: Training settings by stage.
        pipeline: As the gateway has it.

    Raises:
        InvalidInputError: See `run_arms`.
    """
    job = TrainingJob(dataset, registry, work_folder, seed, progress, settings or TrainingSettings())
    models = load_models(registry, {stage: job.version(stage) for stage in SERVED_STAGES})
    return run_arms(world, dataset, PolicyModels.of(models), users, progress, names=names, pipeline=pipeline)
