"""What every command that trains can be told, and the settings that follow from it."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from streamrec.command_line.workspace import Workspace

if TYPE_CHECKING:
    from services.recommendations.jobs.training import TrainingSettings

DEFAULT_SEED = 1


class Effort(StrEnum):
    """How much is spent on training."""

    FULL = "full"
    QUICK = "quick"


SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw.")]
EffortOption = Annotated[
    Effort,
    typer.Option("--effort", help="`quick` trains smaller models by the same code, as the demo does."),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device", help="Where networks are trained: cpu, cuda, cuda:1; figures may differ a little."
    ),
]


def chosen_settings(workspace: Workspace, effort: Effort, device: str) -> TrainingSettings:
    """The settings that a command's options ask for.

    Raises:
        InvalidInputError: There is no such device here.
        ArtifactError: As in `composition.training_settings`.
    """
    from services.recommendations.commands.composition import training_settings
    from services.recommendations.ranking.train import training_device

    training_device(device)
    return replace(training_settings(workspace, quick=effort is Effort.QUICK), device=device)
