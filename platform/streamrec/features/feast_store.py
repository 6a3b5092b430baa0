"""The feature store on Feast; with `feast_repository` and `feast_import`, all that knows Feast.

Feast 0.67 as found, and what is done about it here:

- Online reads ignore a view's ttl and return an unknown entity as a row of None: both are checked here.
- Redis drops a write that is not newer than the stored row; SQLite takes every write. Here the last write
  wins on both: on Redis its time is moved past the stored row's.
- A training frame loses every row whose entity has no feature yet, and all but one of several rows with the
  same keys and time. Here every row of the entity frame comes back, in order.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import dask
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from streamrec.contracts.errors import InvalidInputError, NotFoundError, NotReadyError
from streamrec.features.feast_import import EntityKey, FeastObjectNotFoundException, Value
from streamrec.features.feast_import import FeatureStore as Feast
from streamrec.features.feast_repository import answering, online_connection, open_feast
from streamrec.features.generation import GENERATION_FILE, read_generation
from streamrec.features.item_tables import item_table_of
from streamrec.features.names import ACTIVITY_VIEW, ITEM_CONTENT_VIEW, ITEM_POPULARITY_VIEW, ONLINE_SERVICE
from streamrec.features.rules import check_user_id, checked_history, is_expired, unknown_user, utc_now
from streamrec.features.settings import SQLITE, FeatureSettings
from streamrec.features.store import ItemTable, UserFeatures
from streamrec.features.tables import EVENT_TIMESTAMP

TRAINING_ROWS: Final = 20_000
"""Rows of an entity frame joined at a time. Feast joins each with every snapshot of its entity at once."""


@dataclass(frozen=True)
class _Opened:
    """One published generation of the folder, opened."""

    identity: tuple[int, int]
    feast: Feast
    service: Any
    history_ttl: timedelta
    connection: sqlite3.Connection | None


class FeastFeatureStore:
    """Online features, the item table and training frames from a published folder of features.

    Safe to use from several threads and processes. A folder that is materialised anew is picked up by the
    next call; every call sees one generation, whole.
    """

    def __init__(self, settings: FeatureSettings, clock: Callable[[], datetime] = utc_now) -> None:
        self._settings = settings
        self._clock = clock
        self._opening = threading.Lock()
        # Feast shares one SQLite connection among all threads; two transactions on it would be one.
        self._one_at_a_time: AbstractContextManager[Any] = (
            threading.Lock() if settings.online == SQLITE else nullcontext()
        )
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
        opened = self._open()
        try:
            row = self._online_row(opened, user_id)
        except FeastObjectNotFoundException:
            # A publication takes the definitions of generations before it away, also from a reader that was
            # held up between opening one and reading from it.
            replaced, opened = opened, self._open()
            if opened is replaced:
                raise
            row = self._online_row(opened, user_id)
        if row["country"] is None and row["last_event_at"] is None:
            return None
        known = unknown_user(user_id)
        for name in ("country", "language", "age_band", "signup_channel"):
            known = replace(known, **{name: row[name]}) if row[name] is not None else known
        updated_at = row["last_event_at"]
        if updated_at is None or is_expired(updated_at, opened.history_ttl, self._clock()):
            return known
        return replace(known, history=tuple(row["history"] or ()), updated_at=updated_at.astimezone(UTC))

    def write_history(self, user_id: str, history: tuple[str, ...], updated_at: datetime) -> None:
        """Replace the user's history; the next read, in any process, returns it.

        Args:
            user_id: Whose.
            history: Oldest first; the newest `HISTORY_LIMIT` items are kept.
            updated_at: Time of the newest event, kept to the second.

        Raises:
            DependencyError: The online store did not answer.
            InvalidInputError: ``user_id`` cannot be a key, ``updated_at`` has no zone or lies in the future.
            NotReadyError: Nothing has been materialised yet.
        """
        kept, second = checked_history(user_id, history, updated_at, self._clock())
        opened = self._open()
        with self._answering():
            stamp = updated_at.astimezone(UTC)
            if opened.connection is None:
                stamp = max(stamp, self._next_stamp(opened, user_id))
            row = {
                "user_id": [user_id],
                "event_count": [len(kept)],
                "last_event_at": [second],
                "history": [list(kept)],
                EVENT_TIMESTAMP: [stamp],
            }
            opened.feast.write_to_online_store(ACTIVITY_VIEW, pd.DataFrame(row))

    def item_table(self) -> ItemTable:
        """Return all items with their features, from the offline tables.

        Raises:
            NotReadyError: Nothing has been materialised yet.
        """
        opened = self._open()
        return item_table_of(
            _offline(opened.feast, ITEM_CONTENT_VIEW), _offline(opened.feast, ITEM_POPULARITY_VIEW)
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
        feast = self._open().feast
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
        if current is not None and current.connection is not None:
            current.connection.close()

    def _online_row(self, opened: _Opened, user_id: str) -> dict[str, Any]:
        with self._answering():
            response = opened.feast.get_online_features(
                features=opened.service, entity_rows=[{"user_id": user_id}]
            )
        return {name: values[0] for name, values in response.to_dict().items()}

    def _open(self) -> _Opened:
        try:
            status = (self._settings.folder / GENERATION_FILE).stat()
        except OSError as error:
            raise NotReadyError(
                f"{self._settings.folder} has no features; run 'streamrec features materialize'"
            ) from error
        identity = (status.st_ino, status.st_mtime_ns)
        current = self._current
        if current is not None and current.identity == identity:
            return current
        with self._opening:
            if self._current is None or self._current.identity != identity:
                self._current = self._opened(identity)
            return self._current

    def _opened(self, identity: tuple[int, int]) -> _Opened:
        settings = self._settings
        generation = read_generation(settings.folder, settings)
        feast = open_feast(
            settings, settings.folder, generation.project, timeout_ms=settings.redis_read_timeout_ms
        )
        with self._answering():
            return _Opened(
                identity=identity,
                feast=feast,
                service=feast.get_feature_service(ONLINE_SERVICE),
                history_ttl=feast.get_feature_view(ACTIVITY_VIEW).ttl or timedelta(0),
                connection=online_connection(feast),
            )

    def _next_stamp(self, opened: _Opened, user_id: str) -> datetime:
        """Just after the time of the stored row: Redis drops a write that is not newer."""
        key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user_id)])
        view = opened.feast.get_feature_view(ACTIVITY_VIEW)
        store = opened.feast.provider.online_store
        stored: datetime | None = store.online_read(opened.feast.config, view, [key], ["event_count"])[0][0]
        return stored + timedelta(milliseconds=1) if stored else datetime.fromtimestamp(0, UTC)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        with answering(), self._one_at_a_time:
            yield


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
