"""Opening Feast on a folder of features, registering the declarations of ``feature_repo``, loading rows."""

from __future__ import annotations

import importlib
import os
import sqlite3
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any, Final

import yaml
from redis.exceptions import RedisError

from streamrec.contracts.errors import DependencyError, NotReadyError
from streamrec.contracts.progress import Progress
from streamrec.features.feast_import import Entity, FeatureService, FeatureStore, FeatureView, RepoConfig
from streamrec.features.feast_rows import add_actions
from streamrec.features.generation import rows_marker
from streamrec.features.names import (
    ACTIVITY_VIEW,
    FOLDER_VARIABLE,
    PROFILE_VIEW,
    PROJECT_VARIABLE,
    REDIS_VARIABLE,
    REJECTIONS_VIEW,
)
from streamrec.features.settings import SQLITE, FeatureSettings, redis_connection
from streamrec.features.tables import FeatureTables, newest_rows
from streamrec.features.user_actions import UserAction

REGISTRY_FILE: Final = "registry.db"
ONLINE_FILE: Final = "online.db"

WRITE_ROWS: Final = 500
"""Rows written online at a time: bounds memory, and one round trip to Redis."""

SQLITE_BUSY_TIMEOUT_MS: Final = 10_000
"""How long a write waits for other processes' writes; a read never waits for one (WAL mode)."""

_import_lock = threading.Lock()


def open_feast(
    settings: FeatureSettings,
    folder: Path,
    project: str,
    *,
    timeout_ms: int,
    registry_file: str = REGISTRY_FILE,
) -> FeatureStore:
    """Open Feast on ``folder``, which is the published folder or one that is being written.

    Raises:
        NotReadyError: The repository lacks its configuration, or it names an unknown variable.
    """
    name = "feature_store.yaml" if settings.online == SQLITE else "feature_store.redis.yaml"
    path = settings.repo / name
    variables = {FOLDER_VARIABLE: str(folder.absolute()), PROJECT_VARIABLE: project}
    if settings.online != SQLITE:
        variables[REDIS_VARIABLE] = redis_connection(settings.online, timeout_ms)
    try:
        raw = _substituted(yaml.safe_load(path.read_text(encoding="utf-8")), variables)
    except (OSError, yaml.YAMLError) as error:
        raise NotReadyError(f"the Feast configuration {path} cannot be read ({error})") from error
    except KeyError as error:
        raise NotReadyError(f"{path} uses the variable {error}, which is not known") from error
    raw["registry"]["path"] = str(folder.absolute() / registry_file)
    config = RepoConfig(**raw)
    # Relative paths of the offline tables count from here, so a folder keeps working when it is renamed.
    config.repo_path = folder.absolute()
    return FeatureStore(repo_path=str(folder.absolute()), config=config)


def register_definitions(
    settings: FeatureSettings, folder: Path, project: str, registry_file: str = REGISTRY_FILE
) -> tuple[str, ...]:
    """Register every declaration of ``settings.repo`` and make the online tables that are missing.

    Returns:
        The names of what was registered, sorted.

    Raises:
        NotReadyError: The repository declares nothing, or a module in it cannot be imported.
        DependencyError: The online store did not answer.
    """
    store = _open_for_writing(settings, folder, project, registry_file)
    declarations = _declarations(settings.repo)
    with answering():
        store.apply(declarations)
        _close(store)
    return tuple(sorted(declaration.name for declaration in declarations))


def load_online(
    settings: FeatureSettings, folder: Path, project: str, tables: FeatureTables, progress: Progress
) -> int:
    """Write the newest row of every user to the online store; the number of users written.

    Raises:
        DependencyError: The online store did not answer.
    """
    store = _open_for_writing(settings, folder, project)
    users = newest_rows(tables.users, "user_id")
    activity = newest_rows(tables.user_activity, "user_id")
    rejections = newest_rows(tables.user_rejections, "user_id")
    views = {PROFILE_VIEW: users, ACTIVITY_VIEW: activity, REJECTIONS_VIEW: rejections}
    progress.start("write user features online", sum(rows.num_rows for rows in views.values()))
    with answering():
        online_connection(store)
        for view, rows in views.items():
            for start in range(0, rows.num_rows, WRITE_ROWS):
                batch = rows.slice(start, WRITE_ROWS)
                store.write_to_online_store(view, batch.to_pandas())
                progress.advance(batch.num_rows)
        if settings.online != SQLITE:
            _redis(store).set(rows_marker(project), 1)
        _close(store)
    progress.finish(f"{users.num_rows:,} users")
    return int(users.num_rows)


def add_online_actions(
    settings: FeatureSettings, folder: Path, project: str, actions: Mapping[str, Sequence[UserAction]]
) -> None:
    """Add what users did to the online rows of a folder that is not published yet.

    Raises:
        DependencyError: The online store did not answer.
    """
    store = _open_for_writing(settings, folder, project)
    users = sorted(actions)
    with answering():
        connection = online_connection(store)
        views = [store.get_feature_view(name) for name in (ACTIVITY_VIEW, REJECTIONS_VIEW)]
        for start in range(0, len(users), WRITE_ROWS):
            batch = users[start : start + WRITE_ROWS]
            add_actions(store, views, connection, {user_id: actions[user_id] for user_id in batch})
        _close(store)


def delete_online_rows(settings: FeatureSettings, project: str, *, after_s: int = 0) -> None:
    """Delete every user's row of a project from Redis. SQLite's rows go with their folder.

    Args:
        settings: Where the rows are.
        project: Whose.
        after_s: Leave it to Redis to delete them after that time, for those who still read them.

    Raises:
        DependencyError: The online store did not answer.
    """
    if settings.online == SQLITE:
        return
    store = _open_for_writing(settings, settings.folder, project)
    with answering():
        if not after_s:
            store.provider.online_store.delete_entity_values(store.config, ["user_id"])
            _redis(store).delete(rows_marker(project))
            return
        client = _redis(store)
        with client.pipeline(transaction=False) as pipeline:
            for key in client.scan_iter(b"*" + project.encode(), count=WRITE_ROWS):
                pipeline.expire(key, after_s)
                if len(pipeline) >= WRITE_ROWS:
                    pipeline.execute()
            pipeline.execute()


def _redis(store: FeatureStore) -> Any:
    """Feast's client of Redis."""
    return store.provider.online_store._get_client(store.config.online_store)


def online_connection(store: FeatureStore) -> sqlite3.Connection | None:
    """Feast's one SQLite connection, set up for several processes; None with another online store."""
    if store.config.online_store.type != SQLITE:
        return None
    connection: sqlite3.Connection = store.provider.online_store._get_conn(store.config)
    connection.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_TIMEOUT_MS}")
    # Readers go on while one process writes; the mode is kept in the file.
    connection.execute("PRAGMA journal_mode = WAL")
    # A power cut may lose the last writes, never the file; the event log has them.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


@contextmanager
def answering() -> Iterator[None]:
    """Translate what an online store raises when it does not answer.

    Raises:
        DependencyError: It did not answer.
    """
    try:
        yield
    except (RedisError, sqlite3.Error, OSError) as error:
        raise DependencyError(f"the online feature store did not answer ({error})") from error


def _open_for_writing(
    settings: FeatureSettings, folder: Path, project: str, registry_file: str = REGISTRY_FILE
) -> FeatureStore:
    return open_feast(
        settings,
        folder,
        project,
        timeout_ms=settings.redis_write_timeout_ms,
        registry_file=registry_file,
    )


def _close(store: FeatureStore) -> None:
    """Close SQLite's connection, which folds the write-ahead log into the file before it is published."""
    connection = online_connection(store)
    if connection is not None:
        connection.close()


def _declarations(repo: Path) -> list[Entity | FeatureView | FeatureService]:
    if not (repo / "feature_views.py").is_file():
        raise NotReadyError(f"{repo} is not a Feast repository: it has no feature_views.py")
    found: dict[int, Entity | FeatureView | FeatureService] = {}
    with _top_level_imports(repo) as names:
        for name in names:
            try:
                module = importlib.import_module(name)
            except Exception as error:
                raise NotReadyError(f"{repo / name}.py cannot be imported ({error!r})") from error
            for value in vars(module).values():
                if isinstance(value, Entity | FeatureView | FeatureService):
                    found[id(value)] = value
    if not found:
        raise NotReadyError(f"{repo} declares no entity, feature view or feature service")
    return list(found.values())


@contextmanager
def _top_level_imports(repo: Path) -> Iterator[list[str]]:
    """Make the modules of ``repo`` importable as `feast apply` does, and leave no trace of it."""
    names = sorted(path.stem for path in repo.glob("*.py"))
    with _import_lock:
        hidden = {name: sys.modules.pop(name) for name in names if name in sys.modules}
        folder = os.environ.pop(FOLDER_VARIABLE, None)  # our tables lie relative to the opened folder
        sys.path.insert(0, str(repo.absolute()))
        importlib.invalidate_caches()
        try:
            yield names
        finally:
            sys.path.remove(str(repo.absolute()))
            for name in names:
                sys.modules.pop(name, None)
            sys.modules.update(hidden)
            if folder is not None:
                os.environ[FOLDER_VARIABLE] = folder


def _substituted(node: Any, variables: dict[str, str]) -> Any:
    """Substitute ``${NAME}`` in the parsed document: a path with a colon in it cannot break the YAML."""
    if isinstance(node, dict):
        return {key: _substituted(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_substituted(value, variables) for value in node]
    return Template(node).substitute(variables) if isinstance(node, str) else node
