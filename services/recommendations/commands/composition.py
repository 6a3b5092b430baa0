"""Builds the parts that several commands of the spoke need; heavy libraries are imported when asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from streamrec.command_line.composition import champion_version, open_registry
from streamrec.command_line.workspace import Workspace

if TYPE_CHECKING:
    from services.recommendations.jobs.training import TrainingSettings
    from services.recommendations.pipeline.local_stages import LocalModels


def index_choice_file(workspace: Workspace) -> Path:
    """Where `streamrec recommendations index tune` writes what it chose; training reads it."""
    return workspace.root / "item_index.json"


def training_settings(workspace: Workspace, *, quick: bool = False) -> TrainingSettings:
    """Settings by stage, with the index that `streamrec recommendations index tune` chose for the workspace.

    Args:
        workspace: Where the choice of the index lies.
        quick: `TrainingSettings.quick` instead of the defaults.

    Raises:
        ArtifactError: The choice is there and cannot be used.
    """
    from services.recommendations.item_index.settings import read_choice
    from services.recommendations.jobs.training import TrainingSettings

    settings = TrainingSettings.quick() if quick else TrainingSettings()
    choice = read_choice(index_choice_file(workspace))
    if choice is None:
        return settings
    return replace(settings, retrieval=replace(settings.retrieval, index=choice.settings))


def index_notice(workspace: Workspace, item_count: int) -> str | None:
    """What a person should know before training with the chosen index; None where there is nothing.

    Raises:
        ArtifactError: The choice is there and cannot be used.
    """
    from services.recommendations.item_index.settings import read_choice

    choice = read_choice(index_choice_file(workspace))
    if choice is None or choice.fits(item_count):
        return None
    return (
        f"The index was chosen at {choice.item_count:,} items and the catalogue has {item_count:,}: "
        "run 'streamrec recommendations index tune' again once this is trained"
    )


def load_champions(workspace: Workspace) -> LocalModels:
    """Load the champion of every stage into this process.

    Raises:
        NotFoundError: A slot has no champion.
    """
    from services.recommendations.contracts.stages import SLOTS
    from services.recommendations.pipeline.local_models import load_models

    registry = open_registry(workspace)
    return load_models(
        registry, {stage: champion_version(workspace, registry, slot) for stage, slot in SLOTS.items()}
    )
