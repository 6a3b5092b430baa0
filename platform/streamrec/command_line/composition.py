"""Builds the parts that several commands need. Heavy libraries are imported when a part is asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from streamrec.command_line.decisions.acting import acting as acting
from streamrec.command_line.ledger_parts import open_ledger as open_ledger
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import (
    DataFolderError,
    DocumentRefusedError,
    InvalidInputError,
    NotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from streamrec.contracts.models import ModelRef
    from streamrec.contracts.progress import Progress
    from streamrec.datasets.catalogue import Catalogue
    from streamrec.datasets.dataset import Dataset
    from streamrec.erasure.erased_persons import ErasureFiles
    from streamrec.erasure.stores import PersonalData
    from streamrec.events.compaction import CompactionSettings
    from streamrec.events.file_event_log import FileEventLog
    from streamrec.events.records import QuarantinedEvent
    from streamrec.events.time_range import TimeRange
    from streamrec.features.materialization import MaterializationReport
    from streamrec.features.settings import FeatureSettings
    from streamrec.features.store import FeatureStore
    from streamrec.features.user_actions import UserAction
    from streamrec.items.follower import ItemFollower
    from streamrec.registry.mlflow_registry import RegistrySettings
    from streamrec.registry.model_registry import ModelRegistry, ModelVersion
    from streamrec.rollout.traffic_files import TrafficFiles
    from streamrec.rollout.traffic_history import TrafficChange
    from streamrec.rollout.traffic_writer import TrafficWriter
    from streamrec.training.splits import UserHistories

FEATURE_REPO_VARIABLE: Final = "STREAMREC_FEATURE_REPO"
"""Names the folder of feature declarations where it is not the checkout's."""

ONLINE_STORE_VARIABLE: Final = "STREAMREC_ONLINE_STORE"
"""``redis://host:port/database`` to serve features from Redis."""

ARTIFACT_CACHE_VARIABLE: Final = "STREAMREC_ARTIFACT_CACHE_BYTES"
"""How many bytes the cache of artifacts on this machine may hold."""

_MOVIELENS_FILES = ("ratings.csv", "ratings.dat", "rating.csv")


def is_movielens(folder: Path) -> bool:
    """Whether ``folder`` looks like a MovieLens download and not like a folder in the neutral format."""
    return not (folder / "interactions.parquet").exists() and any(
        (folder / name).is_file() for name in _MOVIELENS_FILES
    )


def check_source(folder: Path) -> None:
    """Refuse what cannot be imported.

    Raises:
        DataFolderError: ``folder`` is no folder, or neither a MovieLens folder nor one in the neutral format.
    """
    if not folder.is_dir():
        raise DataFolderError(folder, None, "the folder does not exist")
    if not is_movielens(folder) and not (folder / "interactions.parquet").exists():
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
    """Where the workspace's model registry lives.

    Raises:
        InvalidInputError: ``STREAMREC_ARTIFACT_CACHE_BYTES`` is set to what is no positive number.
    """
    from streamrec.registry.mlflow_registry import RegistrySettings

    bound = os.environ.get(ARTIFACT_CACHE_VARIABLE)
    if bound is None:
        return RegistrySettings.embedded(workspace.registry)
    if not re.fullmatch("[1-9][0-9]{0,17}", bound):
        raise InvalidInputError(ARTIFACT_CACHE_VARIABLE, f"must be a positive number of bytes, not {bound!r}")
    return RegistrySettings.embedded(workspace.registry, int(bound))


def open_registry(workspace: Workspace) -> ModelRegistry:
    """Open the workspace's model registry, making it on first use."""
    from streamrec.registry.mlflow_registry import MlflowModelRegistry

    return MlflowModelRegistry(registry_settings(workspace))


def traffic_files(workspace: Workspace) -> TrafficFiles:
    """Where the workspace says which versions serve."""
    from streamrec.documents.key_folder import KeyFolder
    from streamrec.rollout.traffic_files import TrafficFiles

    return TrafficFiles(workspace.traffic, KeyFolder(workspace.keys).public_folder)


def open_traffic_writer(workspace: Workspace) -> TrafficWriter:
    """Open what changes which versions serve in the workspace."""
    from streamrec.rollout.traffic_writer import TrafficWriter

    return TrafficWriter(
        traffic_files(workspace), workspace.keys, open_registry(workspace), open_ledger(workspace)
    )


def champion_versions(workspace: Workspace) -> dict[str, ModelRef]:
    """Champion by slot; empty where nothing was promoted.

    Raises:
        DocumentRefusedError: The traffic document is damaged or not signed by a trusted key.
        TemporaryError: It cannot be read.
    """
    from streamrec.rollout.traffic_changes import champions

    files = traffic_files(workspace)
    try:
        published = files.open_publisher(workspace.keys).published()
    except DocumentRefusedError as error:
        raise DocumentRefusedError(error.code, f"{files.document}: {error}") from error
    return champions(None if published is None else published.value)


def traffic_changes(workspace: Workspace) -> Sequence[TrafficChange]:
    """What was promoted and rolled back in the workspace, oldest first.

    Raises:
        ArtifactError: The history is damaged.
        DocumentRefusedError, TemporaryError: As in `champion_versions`.
    """
    from streamrec.rollout.traffic_history import read_changes

    files = traffic_files(workspace)
    published = files.open_publisher(workspace.keys).published()
    return () if published is None else read_changes(files.history, up_to=published.revision)


def champion_version(workspace: Workspace, registry: ModelRegistry, slot: str) -> ModelVersion:
    """The version that serves in a slot.

    Raises:
        NotFoundError: None was promoted; says how to.
        DocumentRefusedError, TemporaryError: As in `champion_versions`.
    """
    ref = champion_versions(workspace).get(slot)
    if ref is None:
        raise NotFoundError(
            f"no version is promoted in {slot}: 'streamrec models list' shows what is registered, "
            "'streamrec models deploy NAME@VERSION' asks for one"
        )
    return registry.get(ref)


def feature_settings(workspace: Workspace) -> FeatureSettings:
    """Where the workspace's features live.

    The online store is SQLite unless ``STREAMREC_ONLINE_STORE`` names a Redis.

    Raises:
        NotFoundError: There are no feature declarations.
    """
    from streamrec.features.settings import SQLITE, FeatureSettings

    named = os.environ.get(FEATURE_REPO_VARIABLE)
    repo = Path(named) if named else Path(__file__).resolve().parents[3] / "feature_repo"
    if not (repo / "feature_store.yaml").is_file():
        raise NotFoundError(
            f"{repo} holds no feature declarations; set {FEATURE_REPO_VARIABLE} to the folder feature_repo"
        )
    return FeatureSettings(
        folder=workspace.features, repo=repo, online=os.environ.get(ONLINE_STORE_VARIABLE) or SQLITE
    )


def materialize_features(
    workspace: Workspace, dataset: Dataset, history: UserHistories | None, progress: Progress
) -> MaterializationReport:
    """Publish the features of ``dataset``.

    Args:
        workspace: Where features and events live.
        dataset: Items and users, and the interactions. Users who were erased are left out.
        history: The interactions that may be known. None: all, and on top of them what the event log holds,
            over the catalogue as of the item log.
        progress: Where progress is shown.
    """
    from streamrec.datasets.feedback import with_outcomes
    from streamrec.datasets.logged_segments import logged_segments, with_segments
    from streamrec.erasure.datasets import without_erased
    from streamrec.events.reader import FileEventReader
    from streamrec.events.records import RecordKind
    from streamrec.features.materialization import materialize
    from streamrec.features.new_actions import NewActions

    since = datetime.now(UTC)  # before the log is read: what comes later is added to the rows
    is_erased = erasure_files(workspace).follow().is_erased
    dataset = without_erased(dataset, is_erased)
    if history is None:
        dataset = with_items_of_log(workspace, dataset)
        reader = FileEventReader(workspace.events)
        dataset = with_outcomes(dataset, reader.snapshot(kinds=(RecordKind.OUTCOME,)).outcomes)
        dataset = without_erased(with_segments(dataset, logged_segments(reader)), is_erased)
    new_actions = NewActions(since, partial(acknowledged_since, workspace))
    return materialize(feature_settings(workspace), dataset, history, progress, new_actions)


def acknowledged_since(workspace: Workspace, since: datetime | None) -> Mapping[str, Sequence[UserAction]]:
    """What users did that the event log received since a time. Importable by the gateway's process."""
    from streamrec.events.reader import FileEventReader
    from streamrec.features.new_actions import read_actions

    return read_actions(FileEventReader(workspace.events), since)


def with_items_of_log(workspace: Workspace, dataset: Dataset, until: datetime | None = None) -> Dataset:
    """Return ``dataset`` over the catalogue as of the workspace's item log, without the users erased there.

    Args:
        workspace: Where the log lies.
        dataset: What an import brought.
        until: Entries that were written later do not count; None: all count.

    Raises:
        ArtifactError: The log is damaged, or nobody can tell who was erased.
    """
    from streamrec.datasets.item_changes import with_item_log
    from streamrec.erasure.datasets import without_erased
    from streamrec.items.follower import read_state, read_state_at

    dataset = without_erased(dataset, erasure_files(workspace).follow().is_erased)
    state = read_state(workspace.items) if until is None else read_state_at(workspace.items, until)
    return with_item_log(dataset, state)


def open_feature_store(workspace: Workspace) -> FeatureStore:
    """Open the workspace's features. Importable by the gateway's process."""
    from streamrec.features.materialization import open_feature_store

    return open_feature_store(feature_settings(workspace))


def read_catalogue(workspace: Workspace) -> Catalogue:
    """The workspace's catalogue: the items that were materialised, and what the item log says since.

    Raises:
        NotReadyError: There is neither.
        ArtifactError: The item log is damaged.
    """
    from streamrec.contracts.errors import NotReadyError
    from streamrec.datasets.item_changes import catalogue_of, with_item_changes
    from streamrec.features.item_tables import read_item_table
    from streamrec.items.follower import read_state

    state = read_state(workspace.items)
    try:
        imported = read_item_table(workspace.features).catalogue
    except NotReadyError:
        if not state.items:
            raise
        imported = catalogue_of(())
    return with_item_changes(imported, state)


def open_item_follower(workspace: Workspace) -> ItemFollower:
    """Follow the workspace's item log. Importable by the processes of a service."""
    from streamrec.items.follower import ItemFollower

    return ItemFollower(workspace.items)


def read_events_on_unknown_items(workspace: Workspace) -> Sequence[QuarantinedEvent]:
    """The events of the workspace's log that wait for an item. Importable by the gateway's process."""
    from datetime import UTC, datetime

    from streamrec.events.reader import FileEventReader
    from streamrec.events.unknown_items import events_on_unknown_items

    return events_on_unknown_items(FileEventReader(workspace.events), datetime.now(UTC))


def open_event_log(workspace: Workspace) -> FileEventLog:
    """Open the workspace's event log for writing."""
    from streamrec.events.file_event_log import FileEventLog

    return FileEventLog(workspace.events)


def compaction_settings(workspace: Workspace, retention_days: int) -> CompactionSettings:
    """How the workspace's event log is compacted: nobody who was erased by now comes through it.

    Args:
        workspace: Whose.
        retention_days: How long events are kept; 0: for ever.
    """
    from streamrec.events.compaction import CompactionSettings

    return CompactionSettings(
        retention=timedelta(days=retention_days) if retention_days else None,
        is_erased=erasure_files(workspace).follow().is_erased,
    )


def erasure_files(workspace: Workspace) -> ErasureFiles:
    """Where the workspace's list of erased persons lies."""
    from streamrec.erasure.erased_persons import ErasureFiles

    return ErasureFiles(workspace.erasures, workspace.erasure_secret, workspace.keys)


def personal_data(workspace: Workspace, others: Sequence[Path] = ()) -> list[PersonalData]:
    """Everything that may hold a person, in the order in which it is to be cleared.

    The event log is first: what waits for a running service to follow the list is waited for there.

    Args:
        workspace: Where to look; the demo's own workspace, a folder in it, is another one.
        others: Further folders of data.
    """
    from streamrec.erasure.event_log import EventLogData
    from streamrec.erasure.folders import FolderData
    from streamrec.erasure.online_features import OnlineFeaturesData

    elsewhere = (workspace.events, workspace.erasures.parent, workspace.keys, workspace.demo.root)
    return [
        EventLogData(workspace.events),
        OnlineFeaturesData(feature_settings(workspace)),
        FolderData("files of the workspace", workspace.root, without=elsewhere),
        *(FolderData(str(folder), folder) for folder in others),
    ]


def count_events(workspace: Workspace, window: TimeRange | None = None) -> dict[str, int]:
    """Count what a range of the workspace's event log holds, every event once; all of it where None."""
    from streamrec.events.reader import FileEventReader
    from streamrec.events.records import RecordKind
    from streamrec.events.time_range import ALL_TIME

    reader = FileEventReader(workspace.events)
    return {
        ("quarantined" if kind is RecordKind.QUARANTINED else f"{kind.value}s"): reader.table(
            kind, ["schema"], window or ALL_TIME
        ).num_rows
        for kind in RecordKind
    }
