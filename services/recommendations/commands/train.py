"""`streamrec recommendations train`: train models and register them."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer

from services.recommendations.commands.training_options import (
    DEFAULT_SEED,
    DeviceOption,
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


class Stage(StrEnum):
    """What can be trained."""

    RETRIEVAL = "retrieval"
    RANKING_TEACHER = "ranking-teacher"
    RANKING = "ranking"
    COLD_START = "cold-start"
    RERANKING = "reranking"
    ALL = "all"


def train(
    stage: Annotated[Stage, typer.Argument(help="What to train; the stages it needs are trained with it.")],
    data: DataOption = None,
    imported: ImportedOption = None,
    until: UntilOption = None,
    seed: SeedOption = DEFAULT_SEED,
    effort: EffortOption = Effort.FULL,
    device: DeviceOption = "cpu",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Train and register; nothing is promoted. What is already trained on the same is reused."""
    from services.recommendations.commands.composition import index_notice
    from streamrec.command_line.composition import open_registry
    from streamrec.command_line.progress import shown_progress
    from streamrec.command_line.tables import stdout_console, table

    read = read_training_data(Workspace(workspace), data=data, imported=imported, until=until)
    dataset = read.dataset
    # After the data: a wrong folder is refused before torch and PyMC are loaded.
    from services.recommendations.jobs.training import STAGES, train_stages

    chosen = STAGES if stage is Stage.ALL else (stage.value.replace("-", "_"),)
    place = Workspace(workspace)
    console = stdout_console()
    console.print(f"Training on {read.summary()}", markup=False, highlight=False, soft_wrap=True)
    notice = index_notice(place, len(dataset.catalogue))
    if notice is not None:
        console.print(notice, markup=False, highlight=False, soft_wrap=True)
    with shown_progress(console) as progress:
        versions = train_stages(
            chosen,
            dataset,
            open_registry(place),
            place.training,
            seed=seed,
            progress=progress,
            settings=replace(chosen_settings(place, effort, device), events_until=read.events_until),
        )
    console.print(
        table(
            "Trained versions",
            ("stage", "version", "held-out metrics"),
            (
                (
                    name.replace("_", " "),
                    str(version.ref),
                    ", ".join(f"{metric} {value:.4f}" for metric, value in version.metrics.items()) or "-",
                )
                for name, version in versions.items()
            ),
        )
    )
    refs = " ".join(str(version.ref) for version in versions.values() if version.slot is not None)
    if refs:
        typer.echo(f"Nothing serves yet. Deploy: streamrec models deploy {refs} --reason ...")
