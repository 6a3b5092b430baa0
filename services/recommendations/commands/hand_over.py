"""`streamrec recommendations hand-over`: how fast cold start should hand over to retrieval and ranking."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from services.recommendations.commands.training_options import (
    DEFAULT_SEED,
    Effort,
    EffortOption,
    SeedOption,
    chosen_settings,
)
from streamrec.command_line.training_data import (
    DataOption,
    ImportedOption,
    UntilOption,
    read_training_data,
)
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption


def hand_over(
    data: DataOption = None,
    imported: ImportedOption = None,
    until: UntilOption = None,
    users: Annotated[int, typer.Option("--users", min=1, help="Most users to measure on.")] = 500,
    seed: SeedOption = DEFAULT_SEED,
    effort: EffortOption = Effort.FULL,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Train what is missing; print NDCG@10 of validation items by kappa and history length."""
    from streamrec.command_line.composition import open_registry
    from streamrec.command_line.progress import shown_progress
    from streamrec.command_line.tables import stdout_console, table

    read = read_training_data(Workspace(workspace), data=data, imported=imported, until=until)
    dataset = read.dataset
    # After the data: a wrong folder is refused before torch and PyMC are loaded.
    from services.recommendations.jobs.hand_over import hand_over_curve
    from services.recommendations.jobs.training import SERVED_STAGES, TrainingJob
    from services.recommendations.pipeline.local_models import load_models

    place = Workspace(workspace)
    registry, console = open_registry(place), stdout_console()
    console.print(f"Measuring on {read.summary()}", markup=False, highlight=False, soft_wrap=True)
    with shown_progress(console) as progress:
        settings = replace(chosen_settings(place, effort, "cpu"), events_until=read.events_until)
        job = TrainingJob(dataset, registry, place.training, seed, progress, settings)
        models = load_models(registry, {stage: job.version(stage) for stage in SERVED_STAGES})
        progress.start("hand-over: asking the stages", min(users, len(job.split.evaluated)))
        curve = hand_over_curve(models, dataset, job.split, users=users, advance=progress.advance)
        progress.finish(f"kappa {curve.chosen:g}")
    console.print(
        table(
            "NDCG@10 of the second-last item by kappa and known interactions",
            ("kappa", "mean", *(str(length) for length in curve.history_lengths)),
            (
                (f"{kappa:g}", f"{mean:.4f}", *(f"{value:.4f}" for value in row))
                for kappa, mean, row in zip(curve.kappas, curve.mean, curve.ndcg, strict=True)
            ),
        )
    )
    console.print(
        f"best: {curve.best:g}; chosen, the largest within a standard error of it: {curve.chosen:g}",
        markup=False,
        highlight=False,
    )
