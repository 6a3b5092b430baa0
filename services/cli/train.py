"""`streamrec train`: train models, register them, make them champions."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from services.cli.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

DEFAULT_SEED = 1


class Stage(StrEnum):
    """What can be trained."""

    RETRIEVAL = "retrieval"
    RANKING = "ranking"
    COLD_START = "cold-start"
    RERANKING = "reranking"
    ALL = "all"


def train(
    stage: Annotated[Stage, typer.Argument(help="What to train; the stages it needs are trained with it.")],
    data: Annotated[Path, typer.Option("--data", help="Data folder in the neutral format.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw.")] = DEFAULT_SEED,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Train, register, and make champion. What is already trained on the same data and settings is reused."""
    from services.cli.composition import load_data_folder, open_registry
    from services.cli.progress import shown_progress
    from services.cli.tables import stdout_console, table

    dataset = load_data_folder(data)
    # After the data: a wrong folder is refused before torch and PyMC are loaded.
    from services.recommendations.training_job import STAGES, train_stages

    chosen = STAGES if stage is Stage.ALL else (stage.value.replace("-", "_"),)
    place = Workspace(workspace)
    console = stdout_console()
    with shown_progress(console) as progress:
        versions = train_stages(
            chosen, dataset, open_registry(place), place.training, seed=seed, progress=progress
        )
    console.print(
        table(
            "Champions",
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
