"""What the command line does with features: register the definitions, fill the store, open it.

A materialisation builds a whole new folder beside the published one (offline tables, registry, online rows)
and exchanges the two in one step. Running servers go over to it with their next read; one that is killed on
the way changes nothing.

Users go on acting meanwhile. What they did since the data was read is added to the new rows: nearly all of it
before the exchange, the last of it while writers of rows are held off for the moment of the exchange.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pyarrow.parquet as pq

from streamrec.contracts.errors import DependencyError, NotReadyError
from streamrec.contracts.progress import Progress, SilentProgress
from streamrec.datasets.dataset import Dataset
from streamrec.datasets.folders import replaced_folder
from streamrec.features.feast_repository import (
    ONLINE_FILE,
    REGISTRY_FILE,
    add_online_actions,
    delete_online_rows,
    load_online,
    register_definitions,
)
from streamrec.features.feast_store import FeastFeatureStore
from streamrec.features.generation import (
    GENERATION_FILE,
    Generation,
    new_generation,
    read_generation,
    write_generation,
)
from streamrec.features.names import OFFLINE_FOLDER
from streamrec.features.new_actions import NewActions
from streamrec.features.publication import publishing
from streamrec.features.rules import check_not_in_future, utc_now
from streamrec.features.settings import SQLITE, FeatureSettings
from streamrec.features.tables import FeatureTables, InteractionHistory, build_feature_tables, empty_tables
from streamrec.features.user_actions import UserAction

GRACE_S: Final = 60
"""How long the rows of a replaced generation stay in Redis: longer than any request takes."""

_NEW_REGISTRY_FILE: Final = f"{REGISTRY_FILE}.new"

OWNED_NAMES: Final = frozenset(
    {
        OFFLINE_FOLDER,
        GENERATION_FILE,
        REGISTRY_FILE,
        _NEW_REGISTRY_FILE,
        ONLINE_FILE,
        f"{ONLINE_FILE}-wal",
        f"{ONLINE_FILE}-shm",
    }
)
"""Everything that a folder of features may hold; one with anything else is never overwritten."""


@dataclass(frozen=True)
class MaterializationReport:
    """One materialisation.

    Attributes:
        project: The generation's Feast project.
        offline_rows: Rows of each offline table.
        online_users: Users with a row in the online store.
        newest: Time of the newest row; None without any.
    """

    project: str
    offline_rows: Mapping[str, int]
    online_users: int
    newest: datetime | None


def apply(settings: FeatureSettings) -> tuple[str, ...]:
    """Register the definitions of ``settings.repo``; data that is there stays.

    Returns:
        Names of the entities, feature views and feature services, sorted.

    Raises:
        NotReadyError: The repository declares nothing or cannot be imported.
        DataFolderError: The folder holds foreign files or cannot be written.
        DependencyError: The online store did not answer.
    """
    try:
        generation = read_generation(settings.folder, settings)
    except NotReadyError:
        with replaced_folder(settings.folder, OWNED_NAMES) as folder:
            return _write(settings, folder, new_generation(settings), empty_tables())
    # A registry of its own, so that a definition that is gone does not stay, exchanged in one step.
    registry = settings.folder / _NEW_REGISTRY_FILE
    registry.unlink(missing_ok=True)
    names = register_definitions(settings, settings.folder, generation.project, _NEW_REGISTRY_FILE)
    registry.replace(settings.folder / REGISTRY_FILE)
    return names


def materialize(
    settings: FeatureSettings,
    dataset: Dataset,
    history: InteractionHistory | None = None,
    progress: Progress | None = None,
    new_actions: NewActions | None = None,
) -> MaterializationReport:
    """Compute all features and publish them offline and online, in place of what was there.

    Args:
        settings: Where to.
        dataset: Users and catalogue.
        history: The interactions that may be known, for example all but the held-out ones; default: all.
        progress: Shows the users written online.
        new_actions: What users do meanwhile; None where nobody is served from what is published.

    Raises:
        InvalidInputError: The data holds events from the future.
        NotReadyError: The repository declares nothing or cannot be imported.
        DataFolderError: The folder holds foreign files or cannot be written.
        DependencyError: The online store did not answer.
        OverloadedError: Another materialisation is being published.
    """
    progress = progress or SilentProgress()
    tables = build_feature_tables(dataset, history)
    check_not_in_future(tables.newest, utc_now())
    previous = _published(settings)
    since = None if new_actions is None else new_actions.since
    generation = new_generation(settings, since, tables.newest_event, rows_marked=settings.online != SQLITE)
    try:
        with ExitStack() as exchange, replaced_folder(settings.folder, OWNED_NAMES) as folder:
            _write(settings, folder, generation, tables)
            online_users = load_online(settings, folder, generation.project, tables, progress)
            if new_actions is not None:
                looked_at = utc_now()
                _catch_up(settings, folder, generation, new_actions.read(new_actions.since))
                exchange.enter_context(publishing(settings.folder))
                _catch_up(settings, folder, generation, new_actions.read(looked_at))
    except BaseException:
        # Nothing points at these rows. If Redis is what failed, they are left to the operator's eviction.
        with suppress(DependencyError):
            delete_online_rows(settings, generation.project)
        raise
    if previous is not None:
        # Who opened the generation before still reads from it, for as long as a request takes.
        delete_online_rows(settings, previous.project, after_s=GRACE_S)
    rows = {name: table.num_rows for name, table in tables.named().items()}
    return MaterializationReport(generation.project, MappingProxyType(rows), online_users, tables.newest)


def _catch_up(
    settings: FeatureSettings,
    folder: Path,
    generation: Generation,
    actions: Mapping[str, Sequence[UserAction]],
) -> None:
    if actions:
        add_online_actions(settings, folder, generation.project, actions)


def open_feature_store(settings: FeatureSettings) -> FeastFeatureStore:
    """The store that serves what `materialize` published."""
    return FeastFeatureStore(settings)


def _write(
    settings: FeatureSettings, folder: Path, generation: Generation, tables: FeatureTables
) -> tuple[str, ...]:
    (folder / OFFLINE_FOLDER).mkdir()
    for name, table in tables.named().items():
        pq.write_table(table, folder / OFFLINE_FOLDER / f"{name}.parquet", compression="zstd")
    write_generation(folder, generation)
    return register_definitions(settings, folder, generation.project)


def _published(settings: FeatureSettings) -> Generation | None:
    try:
        return read_generation(settings.folder, settings)
    except NotReadyError:
        return None
