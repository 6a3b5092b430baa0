"""The feature store in one process's memory: the twin of the Feast adapter."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from streamrec.contracts.errors import NotReadyError
from streamrec.features.item_tables import item_table_of
from streamrec.features.online.user_reads import DirectReads, ReadLimits, UserRow
from streamrec.features.rules import (
    as_served,
    check_actions,
    check_not_in_future,
    check_user_id,
    unknown_user,
    utc_now,
)
from streamrec.features.store import ItemCounts, ItemTable, UserFeatures, without_pause
from streamrec.features.tables import FeatureTables, newest_rows
from streamrec.features.user_actions import TimedItems, UserAction


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
        self._made_at = clock()
        self._users: dict[str, UserFeatures] = {}
        self._changes: Counter[str] = Counter()
        if tables is not None:
            check_not_in_future(tables.newest, clock())
            self._load(tables)

    def user_features(self, user_id: str) -> UserFeatures | None:
        """Return the user's row, or None for a user that the store does not know."""
        check_user_id(user_id)
        with self._lock:
            row = self._users.get(user_id)
        return None if row is None else as_served(row, self._history_ttl, self._clock())

    def reads(self, limits: ReadLimits) -> DirectReads:  # noqa: ARG002 - nothing here waits
        """Return the same reads for an event loop."""
        return DirectReads(self._row, self._revision)

    def add_actions(self, actions: Mapping[str, Sequence[UserAction]]) -> None:
        """Add what users did to their rows; creates the row of a user that has none.

        Raises:
            InvalidInputError: A user id cannot be a key, or a time has no zone or lies in the future.
        """
        check_actions(actions, self._clock())
        with self._lock:
            for user_id, acted in actions.items():
                row = self._users.get(user_id) or unknown_user(user_id)
                activity = row.activity.with_actions(acted)
                self._changes[user_id] += activity != row.activity
                self._users[user_id] = replace(row, activity=activity)

    def generation(self) -> str:
        """The one that the store was made with."""
        return "" if self._tables is None else "only"

    def events_until(self) -> datetime | None:
        """None: a store in memory is made without an event log.

        Raises:
            NotReadyError: The store started without tables.
        """
        if self._tables is None:
            raise NotReadyError("nothing has been materialised to this feature store")
        return None

    def materialized_at(self) -> datetime:
        """When the store was made.

        Raises:
            NotReadyError: The store started without tables.
        """
        if self._tables is None:
            raise NotReadyError("nothing has been materialised to this feature store")
        return self._made_at

    def newest_event_at(self) -> datetime | None:
        """Return the time of the newest event in the tables.

        Raises:
            NotReadyError: The store started without tables.
        """
        if self._tables is None:
            raise NotReadyError("nothing has been materialised to this feature store")
        return self._tables.newest_event

    def item_counts(self, pause: Callable[[], None] = without_pause) -> ItemCounts:
        """Return what it takes to show popular items.

        Raises:
            NotReadyError: The store started without tables, or without items.
        """
        pause()
        return ItemCounts.of_table(self.item_table())

    def item_table(self) -> ItemTable:
        """Return all items with their features.

        Raises:
            NotReadyError: The store started without tables, or without items.
        """
        if self._tables is None:
            raise NotReadyError("nothing has been materialised to this feature store")
        return item_table_of(self._tables.items, self._tables.item_popularity)

    def _row(self, user_id: str) -> UserRow:
        revision = self._revision(user_id)
        return UserRow(self.user_features(user_id), revision)

    def _revision(self, user_id: str) -> bytes:
        check_user_id(user_id)
        with self._lock:
            return b"%d" % self._changes[user_id]

    def _load(self, tables: FeatureTables) -> None:
        for row in tables.users.drop_columns("event_timestamp").to_pylist():
            self._users[row["user_id"]] = UserFeatures(**row)
        for row in newest_rows(tables.user_activity, "user_id").to_pylist():
            self._set(row["user_id"], history=_timed(row, "history"))
        for row in newest_rows(tables.user_rejections, "user_id").to_pylist():
            self._set(row["user_id"], disliked=_timed(row, "disliked"), skipped=_timed(row, "skipped"))

    def _set(self, user_id: str, **lists: TimedItems) -> None:
        known = self._users.get(user_id) or unknown_user(user_id)
        self._users[user_id] = replace(known, activity=replace(known.activity, **lists))


def _timed(row: Mapping[str, Any], name: str) -> TimedItems:
    return TimedItems(tuple(row[name]), tuple(row[f"{name}_times"]))
