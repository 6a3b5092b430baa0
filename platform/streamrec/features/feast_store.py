"""The feature store on Feast; with `feast_repository` and `feast_import`, all that knows Feast.

Feast 0.67 as found, and what is done about it here:

- Online reads ignore a view's ttl and return an unknown entity as a row of None: both are checked here.
- Redis drops a write that is not newer than the stored row; SQLite takes every write. Here every write
  counts on both (`feast_rows`).
- A registry whose file changes is read again in the middle of a call, which then finds other definitions or
  none, and fails with a `KeyError` among others: such a call is made again on what is published now.
- A training frame loses every row whose entity has no feature yet, and all but one of several rows with the
  same keys and time. Here every row of the entity frame comes back, in order.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import dask
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from streamrec.contracts.errors import (
    DependencyError,
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    StreamRecError,
)
from streamrec.features.feast_import import FeatureStore as Feast
from streamrec.features.feast_import import FeatureView
from streamrec.features.feast_repository import answering, online_connection, open_feast
from streamrec.features.feast_rows import add_actions, feature_names, read_user, redis_fields
from streamrec.features.generation import GENERATION_FILE, read_generation
from streamrec.features.item_tables import item_table_of, read_item_counts
from streamrec.features.names import ACTIVITY_VIEW, ITEM_CONTENT_VIEW, ITEM_POPULARITY_VIEW, ONLINE_SERVICE
from streamrec.features.online.redis_reads import RedisReads, RowLayout, RowLayouts
from streamrec.features.online.sqlite_rows import SqliteRows
from streamrec.features.online.user_reads import ReadLimits, ThreadedReads, UserReads
from streamrec.features.publication import writing_rows
from streamrec.features.rules import as_served, check_actions, check_user_id, utc_now
from streamrec.features.settings import SQLITE, FeatureSettings
from streamrec.features.store import ItemCounts, ItemTable, UserFeatures, without_pause
from streamrec.features.user_actions import UserAction
from streamrec.features.user_tables import EVENT_TIMESTAMP

TRAINING_ROWS: Final = 20_000
"""Rows of an entity frame joined at a time. Feast joins each with every snapshot of its entity at once."""

_ATTEMPTS: Final = 5
"""Of a call whose generation is replaced on the way; each publication takes seconds."""

T = TypeVar("T")


@dataclass(frozen=True)
class _Opened:
    """One published generation of the folder, opened twice: who reads never waits for who writes."""

    identity: tuple[int, int]
    reading: Feast
    writing: Feast
    user_views: tuple[FeatureView, ...]
    history_ttl: timedelta
    connections: tuple[sqlite3.Connection | None, sqlite3.Connection | None]


class FeastFeatureStore:
    """Online features, the item table and training frames from a published folder of features.

    Safe to use from several threads and processes. A folder that is materialised anew is picked up by the
    next call; every call sees one generation, whole. Whatever Feast or its store raises leaves as an error of
    `streamrec.contracts.errors`.
    """

    def __init__(self, settings: FeatureSettings, clock: Callable[[], datetime] = utc_now) -> None:
        self._settings = settings
        self._clock = clock
        self._opening = threading.Lock()
        # Feast shares one SQLite connection among all threads; two transactions on it would be one.
        self._one_reader: AbstractContextManager[Any] = _lock_if_needed(settings)
        self._one_writer: AbstractContextManager[Any] = _lock_if_needed(settings)
        self._current: _Opened | None = None

    def user_features(self, user_id: str) -> UserFeatures | None:
        """Return the user's row, or None for a user that the store does not know.

        A history older than the view's ttl reads as no history.

        Raises:
            DependencyError: The online store did not answer.
            InvalidInputError: ``user_id`` is empty or too long.
            NotReadyError: Nothing has been materialised yet.
        """
        check_user_id(user_id)

        def read(opened: _Opened) -> UserFeatures | None:
            with answering(), self._one_reader:
                features = read_user(opened.reading, opened.user_views, user_id)
            return None if features is None else as_served(features, opened.history_ttl, self._clock())

        return self._on_current(read, newest=True)

    def reads(self, limits: ReadLimits) -> UserReads:
        """Return the same reads for an event loop: without threads from Redis, in threads from SQLite."""
        if self._settings.online == SQLITE:
            return ThreadedReads(
                lambda user_id: self._in_sqlite(lambda rows: rows.row(user_id, self._clock())),
                lambda user_id: self._in_sqlite(lambda rows: rows.revision(user_id)),
                limits,
            )
        return RedisReads(
            RowLayouts(self._opened_layout, self._identity, self._settings),
            self._settings,
            limits,
            self._clock,
        )

    def add_actions(self, actions: Mapping[str, Sequence[UserAction]]) -> None:
        """Add what users did to their rows; see `FeatureStore.add_actions`.

        Raises:
            DependencyError: The online store did not answer.
            InvalidInputError: A user id cannot be a key, or a time has no zone or lies in the future.
            NotReadyError: Nothing has been materialised yet.
        """
        check_actions(actions, self._clock())

        def write(opened: _Opened) -> None:
            with answering(), self._one_writer:
                add_actions(opened.writing, opened.user_views, opened.connections[1], actions)

        self._identity()  # says that nothing is published before it waits for a lock
        with writing_rows(self._settings.folder):
            self._on_current(write)

    def generation(self) -> str:
        """Name what is published: the identity of the file that publishes it."""
        try:
            return "{}-{}".format(*self._identity())
        except NotReadyError:
            return ""

    def events_until(self) -> datetime | None:
        """Return when the data was read that the published rows were computed from.

        Raises:
            NotReadyError: Nothing has been materialised yet.
        """
        until = read_generation(self._settings.folder, self._settings).events_until
        return None if until is None else datetime.fromisoformat(until)

    def materialized_at(self) -> datetime:
        """Return when the file was written that publishes the rows; see `FeatureStore.materialized_at`.

        Raises:
            NotReadyError: Nothing has been materialised yet.
        """
        _, written_ns = self._identity()
        return datetime.fromtimestamp(written_ns / 1e9, UTC)

    def newest_event_at(self) -> datetime | None:
        """Return the time of the newest event in the rows; see `FeatureStore.newest_event_at`."""
        newest = read_generation(self._settings.folder, self._settings).newest_event_at
        return None if newest is None else datetime.fromisoformat(newest)

    def item_counts(self, pause: Callable[[], None] = without_pause) -> ItemCounts:
        """Return what it takes to show popular items; see `FeatureStore.item_counts`.

        Raises:
            NotReadyError: Nothing has been materialised yet.
        """
        revision = self.generation()
        for _ in range(_ATTEMPTS):
            try:
                counts = read_item_counts(self._settings.folder, revision, pause)
            except NotReadyError:
                if self.generation() == revision:
                    raise
            else:
                if self.generation() == revision:
                    return counts
            revision = self.generation()
        raise DependencyError(f"the features in {self._settings.folder} are replaced again and again")

    def item_table(self) -> ItemTable:
        """Return all items with their features, from the offline tables.

        Raises:
            NotReadyError: Nothing has been materialised yet.
        """
        return self._on_current(
            lambda opened: item_table_of(
                _offline(opened.reading, ITEM_CONTENT_VIEW), _offline(opened.reading, ITEM_POPULARITY_VIEW)
            )
        )

    def training_frame(self, entity_frame: pd.DataFrame, feature_service: str) -> pd.DataFrame:
        """Join to each row the newest features that were known at its time.

        Args:
            entity_frame: The keys of the service's entities (user_id, item_id, creator_id), the column
                event_timestamp (with a time zone) and any others, for example labels.
            feature_service: Its name in ``feature_repo/feature_services.py``.

        Returns:
            The entity frame, row by row in its order, with a column ``view__feature`` for each feature; a
            feature that was not known at the row's time is missing.

        Raises:
            InvalidInputError: A column is missing from the entity frame or its times have no zone.
            NotFoundError: There is no such service.
            NotReadyError: Nothing has been materialised yet.
        """
        return self._on_current(
            lambda opened: self._joined_frame(opened.reading, entity_frame, feature_service)
        )

    def _joined_frame(self, feast: Feast, entity_frame: pd.DataFrame, feature_service: str) -> pd.DataFrame:
        services = {service.name: service for service in feast.list_feature_services()}
        if feature_service not in services:
            raise NotFoundError(
                f"no feature service {feature_service!r}; there are {', '.join(sorted(services))}"
            )
        frame = _checked_entities(entity_frame)
        for projection in services[feature_service].feature_view_projections:
            view = feast.get_feature_view(projection.name)
            names = [feature.name for feature in projection.features]
            for key in view.join_keys:
                if key not in frame:
                    raise InvalidInputError(f"entity_frame.{key}", f"is missing; {feature_service} needs it")
            if projection.name == ACTIVITY_VIEW:
                frame = _joined_activity(feast, frame, names)
            else:
                frame = _joined(feast, frame, projection.name, list(view.join_keys), names)
        return frame.set_axis(entity_frame.index)

    def close(self) -> None:
        """Close the online store's connection; the next call opens it again."""
        with self._opening:
            current, self._current = self._current, None
        for connection in current.connections if current is not None else ():
            if connection is not None:
                connection.close()

    def _on_current(self, call: Callable[[_Opened], T], *, newest: bool = False) -> T:
        """Call with the published generation, and again where it was replaced on the way and the call failed.

        With ``newest`` also where it did not fail: what was read is of the generation before.

        A publication takes definitions and, after a while, rows away, also from a call that was held up.
        """
        for _ in range(_ATTEMPTS):
            used = self._identity()
            try:
                opened = self._open(used)
                used = opened.identity
                result = call(opened)
                if not newest or self._identity() == used:
                    return result
            except (InvalidInputError, NotFoundError):
                raise
            except Exception as error:
                if self._identity() != used:
                    continue
                if isinstance(error, StreamRecError):
                    raise
                raise DependencyError(f"the feature store failed ({error!r})") from error
        raise DependencyError(f"the features in {self._settings.folder} are replaced again and again")

    def _in_sqlite(self, read: Callable[[SqliteRows], T]) -> T:
        def locked(opened: _Opened) -> T:
            connection = opened.connections[0]
            if connection is None:
                raise ValueError("these rows are not in SQLite")
            with answering(), self._one_reader:
                parts = (opened.reading, opened.user_views, connection, opened.identity, opened.history_ttl)
                return read(SqliteRows(*parts))

        return self._on_current(locked, newest=True)

    def _opened_layout(self) -> RowLayout:
        """Where the rows of the published generation lie in Redis; opens it where it is not open yet."""

        def layout(opened: _Opened) -> RowLayout:
            views = opened.user_views
            fields = [redis_fields(opened.reading, view) for view in views]
            return RowLayout(
                identity=opened.identity,
                project=opened.reading.config.project,
                names=tuple(name for view in views for name in feature_names(view)),
                fields=[field for of_view, _ in fields for field in of_view],
                stamps=[stamp for _, stamp in fields],
                history_ttl=opened.history_ttl,
                key_version=opened.reading.config.entity_key_serialization_version,
            )

        return self._on_current(layout)

    def _identity(self) -> tuple[int, int]:
        try:
            status = (self._settings.folder / GENERATION_FILE).stat()
        except OSError as error:
            current = self._current
            if current is not None:
                # Where folders cannot be exchanged in one step, there is none for a moment.
                return current.identity
            raise NotReadyError(
                f"{self._settings.folder} has no features; run 'streamrec features materialize'"
            ) from error
        return status.st_ino, status.st_mtime_ns

    def _open(self, identity: tuple[int, int]) -> _Opened:
        current = self._current
        if current is not None and current.identity == identity:
            return current
        with self._opening:
            if self._current is None or self._current.identity != identity:
                self._current = self._opened(identity)
            return self._current

    def _opened(self, identity: tuple[int, int]) -> _Opened:
        settings = self._settings
        project = read_generation(settings.folder, settings).project
        reading = open_feast(settings, settings.folder, project, timeout_ms=settings.redis_read_timeout_ms)
        writing = open_feast(settings, settings.folder, project, timeout_ms=settings.redis_write_timeout_ms)
        with answering():
            opened = _Opened(
                identity=identity,
                reading=reading,
                writing=writing,
                user_views=tuple(
                    reading.get_feature_view(projection.name)
                    for projection in reading.get_feature_service(ONLINE_SERVICE).feature_view_projections
                ),
                history_ttl=reading.get_feature_view(ACTIVITY_VIEW).ttl or timedelta(0),
                connections=(online_connection(reading), online_connection(writing)),
            )
        if self._identity() != identity:
            raise DependencyError("the features were replaced while they were being opened")
        return opened


def _lock_if_needed(settings: FeatureSettings) -> AbstractContextManager[Any]:
    return threading.Lock() if settings.online == SQLITE else nullcontext()


def _offline(feast: Feast, view_name: str) -> pa.Table:
    """The offline table behind a feature view."""
    source = feast.get_feature_view(view_name).batch_source
    path = Path(source.get_uri_for_file_path(feast.config.repo_path, source.path))
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise NotReadyError(f"the offline table {path} cannot be read ({error})") from error


def _checked_entities(entity_frame: pd.DataFrame) -> pd.DataFrame:
    if EVENT_TIMESTAMP not in entity_frame:
        raise InvalidInputError(f"entity_frame.{EVENT_TIMESTAMP}", "is missing")
    times = entity_frame[EVENT_TIMESTAMP]
    if not isinstance(times.dtype, pd.DatetimeTZDtype) or times.isna().any():
        raise InvalidInputError(
            f"entity_frame.{EVENT_TIMESTAMP}", "must hold a time with a zone in every row"
        )
    times = times.dt.tz_convert("UTC").dt.as_unit("ns")
    return entity_frame.assign(**{EVENT_TIMESTAMP: times}).reset_index(drop=True)


def _joined(feast: Feast, frame: pd.DataFrame, view: str, keys: list[str], names: list[str]) -> pd.DataFrame:
    """Left-join the features ``names`` of one view to ``frame``, which keeps every row and its order."""
    distinct = frame[[*keys, EVENT_TIMESTAMP]].drop_duplicates().sort_values(keys, ignore_index=True)
    references = [f"{view}:{name}" for name in names]
    columns = [f"{view}__{name}" for name in names]
    parts: list[pd.DataFrame] = []
    # Feast's default threads would outlive the call and can hang the end of the process.
    with dask.config.set(scheduler="synchronous"):
        for start in range(0, len(distinct), TRAINING_ROWS):
            rows = distinct.iloc[start : start + TRAINING_ROWS]
            job = feast.get_historical_features(entity_df=rows, features=references, full_feature_names=True)
            parts.append(job.to_df())
    if not parts:
        return frame.assign(**{column: pd.Series(dtype=object) for column in columns})
    known = pd.concat(parts, ignore_index=True)[[*keys, EVENT_TIMESTAMP, *columns]]
    known[EVENT_TIMESTAMP] = known[EVENT_TIMESTAMP].dt.tz_convert("UTC").dt.as_unit("ns")
    return frame.merge(known, how="left", on=[*keys, EVENT_TIMESTAMP], validate="many_to_one")


def _joined_activity(feast: Feast, frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """As `_joined`, but histories are looked up by the snapshot that Feast chose.

    Feast's join hashes every cell of every candidate row some forty times, which takes 6 ms a row where the
    cell is a history. The time of the newest event identifies a user's snapshot.
    """
    plain = list(dict.fromkeys([*(name for name in names if name != "history"), "last_event_at"]))
    chosen = f"{ACTIVITY_VIEW}__last_event_at"
    frame = _joined(feast, frame, ACTIVITY_VIEW, ["user_id"], plain)
    if "history" in names:
        snapshots = _offline(feast, ACTIVITY_VIEW)
        wanted = pa.array(frame["user_id"].unique(), pa.string())
        snapshots = snapshots.filter(pa.compute.is_in(snapshots["user_id"], wanted))
        keys = zip(snapshots["user_id"].to_pylist(), snapshots["last_event_at"].to_pylist(), strict=True)
        row_of = {key: row for row, key in enumerate(keys)}
        histories = snapshots["history"].to_pandas().to_numpy(dtype=object)
        rows = [row_of.get(key) for key in zip(frame["user_id"], frame[chosen], strict=True)]
        column = pd.Series([None if row is None else histories[row] for row in rows], dtype=object)
        frame = frame.assign(**{f"{ACTIVITY_VIEW}__history": column})
    return frame[[column for column in frame.columns if column != chosen or "last_event_at" in names]]
