"""Builds the parts that several commands need. Heavy libraries are imported when a part is asked for."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.cli.workspace import Workspace
from streamrec.contracts.errors import DataFolderError, NotFoundError

if TYPE_CHECKING:
    from services.recommendations.gateway.settings import GatewayParts
    from services.recommendations.gateway.stages import LocalModels
    from services.recommendations.training_job import TrainingSettings
    from streamrec.contracts.progress import Progress
    from streamrec.datasets.dataset import Dataset
    from streamrec.events.file_event_log import FileEventLog
    from streamrec.features.service import MaterializationReport
    from streamrec.features.settings import FeatureSettings
    from streamrec.features.store import FeatureStore
    from streamrec.registry.mlflow_registry import RegistrySettings
    from streamrec.registry.model_registry import ModelRegistry
    from streamrec.training.splits import Sequences

FEATURE_REPO_VARIABLE: Final = "STREAMREC_FEATURE_REPO"
"""Names the folder of feature declarations where it is not the checkout's."""

ONLINE_STORE_VARIABLE: Final = "STREAMREC_ONLINE_STORE"
"""``redis://host:port/database`` to serve features from Redis."""

_MOVIELENS_FILES = ("ratings.csv", "ratings.dat")


def is_movielens(folder: Path) -> bool:
    """Whether ``folder`` looks like a MovieLens download and not like a folder in the neutral format."""
    return not (folder / "interactions.parquet").is_file() and any(
        (folder / name).is_file() for name in _MOVIELENS_FILES
    )


def check_source(folder: Path) -> None:
    """Refuse what cannot be imported.

    Raises:
        DataFolderError: ``folder`` is no folder, or neither a MovieLens folder nor one in the neutral format.
    """
    if not folder.is_dir():
        raise DataFolderError(folder, None, "the folder does not exist")
    if not is_movielens(folder) and not (folder / "interactions.parquet").is_file():
        raise DataFolderError(
            folder,
            None,
            "neither a MovieLens folder (ratings.csv) nor one in the neutral format (interactions.parquet)",
        )


def load_data_folder(folder: Path) -> Dataset:
    """Read a folder in the neutral format.

    Raises:
        DataFolderError: It cannot be used; for a MovieLens folder the message names the command that helps.
    """
    from streamrec.datasets.dataset import load_dataset

    if not folder.is_dir():
        raise DataFolderError(folder, None, "the folder does not exist")
    if is_movielens(folder):
        raise DataFolderError(
            folder,
            None,
            "this is a MovieLens folder, not one in the neutral format; import it first: "
            f"streamrec data import movielens {folder} --output DIR",
        )
    return load_dataset(folder)


def registry_settings(workspace: Workspace) -> RegistrySettings:
    """Where the workspace's model registry lives."""
    from streamrec.registry.mlflow_registry import RegistrySettings

    return RegistrySettings.embedded(workspace.registry)


def open_registry(workspace: Workspace) -> ModelRegistry:
    """Open the workspace's model registry, making it on first use."""
    from streamrec.registry.mlflow_registry import MlflowModelRegistry

    return MlflowModelRegistry(registry_settings(workspace))


def training_settings(workspace: Workspace, *, quick: bool = False) -> TrainingSettings:
    """Settings by stage, with the index that `streamrec index tune` chose for the workspace.

    Args:
        workspace: Where the choice of the index lies.
        quick: `TrainingSettings.quick` instead of the defaults.

    Raises:
        ArtifactError: The choice is there and cannot be used.
    """
    from services.recommendations.index_settings import read_choice
    from services.recommendations.training_job import TrainingSettings

    settings = TrainingSettings.quick() if quick else TrainingSettings()
    choice = read_choice(workspace.index_choice)
    if choice is None:
        return settings
    return replace(settings, retrieval=replace(settings.retrieval, index=choice.settings))


def index_notice(workspace: Workspace, item_count: int) -> str | None:
    """What a person should know before training with the chosen index; None where there is nothing.

    Raises:
        ArtifactError: The choice is there and cannot be used.
    """
    from services.recommendations.index_settings import read_choice

    choice = read_choice(workspace.index_choice)
    if choice is None or choice.fits(item_count):
        return None
    return (
        f"The index was chosen at {choice.item_count:,} items and the catalogue has {item_count:,}: "
        "run 'streamrec index tune' again once this is trained"
    )


def load_champions(registry: ModelRegistry) -> LocalModels:
    """Load the champion of every stage into this process.

    Raises:
        NotFoundError: A model has no champion.
    """
    from services.recommendations.local_models import load_models
    from services.recommendations.training_input import MODEL_NAMES

    return load_models(registry, {stage: registry.resolve(name) for stage, name in MODEL_NAMES.items()})


def feature_settings(workspace: Workspace) -> FeatureSettings:
    """Where the workspace's features live.

    The online store is SQLite unless ``STREAMREC_ONLINE_STORE`` names a Redis.

    Raises:
        NotFoundError: There are no feature declarations.
    """
    from streamrec.features.settings import SQLITE, FeatureSettings

    named = os.environ.get(FEATURE_REPO_VARIABLE)
    repo = Path(named) if named else Path(__file__).resolve().parents[2] / "feature_repo"
    if not (repo / "feature_store.yaml").is_file():
        raise NotFoundError(
            f"{repo} holds no feature declarations; set {FEATURE_REPO_VARIABLE} to the folder feature_repo"
        )
    return FeatureSettings(
        folder=workspace.features, repo=repo, online=os.environ.get(ONLINE_STORE_VARIABLE) or SQLITE
    )


def materialize_features(
    workspace: Workspace, dataset: Dataset, history: Sequences | None, progress: Progress
) -> MaterializationReport:
    """Publish the features of ``dataset``.

    Args:
        workspace: Where features and events live.
        dataset: Items and users, and the interactions.
        history: The interactions that may be known. None: all, and what the event log holds on top of them.
        progress: Where progress is shown.
    """
    from streamrec.datasets.feedback import with_outcomes
    from streamrec.events.reader import FileEventReader
    from streamrec.features.service import materialize

    if history is None:
        dataset = with_outcomes(dataset, FileEventReader(workspace.events).snapshot().outcomes)
    return materialize(feature_settings(workspace), dataset, history, progress)


def open_feature_store(workspace: Workspace) -> FeatureStore:
    """Open the workspace's features. Importable by the gateway's process."""
    from streamrec.features.service import open_feature_store

    return open_feature_store(feature_settings(workspace))


def gateway_parts(workspace: Workspace) -> GatewayParts:
    """What the gateway opens in its own process."""
    from services.recommendations.gateway.settings import GatewayParts

    return GatewayParts(
        feature_store=partial(open_feature_store, workspace), event_log=partial(open_event_log, workspace)
    )


def open_event_log(workspace: Workspace) -> FileEventLog:
    """Open the workspace's event log for writing."""
    from streamrec.events.file_event_log import FileEventLog

    return FileEventLog(workspace.events)


def count_events(workspace: Workspace) -> dict[str, int]:
    """Read the workspace's event log and count what it holds, every event once."""
    from streamrec.events.reader import FileEventReader

    snapshot = FileEventReader(workspace.events).snapshot()
    return {
        "impressions": len(snapshot.impressions),
        "outcomes": len(snapshot.outcomes),
        "quarantined": len(snapshot.quarantined),
    }
