"""The feature store in one process's memory: the twin of the Feast adapter."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from streamrec.contracts.errors import NotReadyError
from streamrec.features.item_tables import item_table_of
from streamrec.features.rules import (
    check_not_in_future,
    check_user_id,
    checked_history,
    is_expired,
    unknown_user,
    utc_now,
)
from streamrec.features.store import ItemTable, UserFeatures
from streamrec.features.tables import FeatureTables, newest_rows


class MemoryFeatureStore:
    """Keeps rows in dictionaries. Safe to use from several threads.

    Args:
        tables: What to start with; None for a store that nothing was materialised to.
        history_ttl: How old a history may be to be served; zero: for ever.
        clock: Tells the time, UTC.

    Raises:
        InvalidInputError: A table holds rows from the future.
    """

    def __init__(
        self,
        tables: FeatureTables | None = None,
        history_ttl: timedelta = timedelta(0),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._lock = threading.Lock()
        self._history_ttl = history_ttl
        self._clock = clock
        self._tables = tables
        self._users: dict[str, UserFeatures] = {}
        if tables is not None:
            check_not_in_future(tables.newest, clock())
            self._load(tables)

    def user_features(self, user_id: str) -> UserFeatures | None:
        """Return the user's row, or None for a user that the store does not know."""
        check_user_id(user_id)
        with self._lock:
            row = self._users.get(user_id)
        if row is not None and is_expired(row.updated_at, self._history_ttl, self._clock()):
            return replace(row, history=(), updated_at=None)
        return row

    def write_history(self, user_id: str, history: tuple[str, ...], updated_at: datetime) -> None:
        """Replace the user's history; creates the row if there is none.

        Raises:
            InvalidInputError: ``updated_at`` has no zone or lies in the future.
        """
        kept, second = checked_history(user_id, history, updated_at, self._clock())
        with self._lock:
            row = self._users.get(user_id, unknown_user(user_id))
            self._users[user_id] = replace(row, history=kept, updated_at=second)

    def item_table(self) -> ItemTable:
        """Return all items with their features.

        Raises:
            NotReadyError: The store started without tables, or without items.
        """
        if self._tables is None:
            raise NotReadyError("nothing has been materialised to this feature store")
        return item_table_of(self._tables.items, self._tables.item_popularity)

    def _load(self, tables: FeatureTables) -> None:
        for row in tables.users.drop_columns("event_timestamp").to_pylist():
            self._users[row["user_id"]] = UserFeatures(**row, history=(), updated_at=None)
        for row in newest_rows(tables.user_activity, "user_id").to_pylist():
            known = self._users.get(row["user_id"], unknown_user(row["user_id"]))
            self._users[row["user_id"]] = replace(
                known, history=tuple(row["history"]), updated_at=row["last_event_at"]
            )
