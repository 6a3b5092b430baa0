"""The item log in one process's memory: the twin of the files, both sides of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from streamrec.contracts.items import Item, ItemChange
from streamrec.items.files import lines
from streamrec.items.item_log import check_size, entries_after
from streamrec.items.state import ItemState


class MemoryItemLog:
    """Implements `ItemLog` and `ItemFeed`. Safe to use from several threads."""

    def __init__(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._newest = ItemState()
        self._current = self._newest

    @property
    def current(self) -> ItemState:
        """See `ItemFeed.current`."""
        return self._current

    @property
    def problem(self) -> str:
        """Always empty: memory does not fail."""
        return ""

    def append(self, changes: Sequence[Item | str]) -> tuple[ItemChange, ...]:
        """See `ItemLog.append`."""
        check_size(changes)
        with self._lock:
            entries = entries_after(self._newest, changes, self._now())
            lines(entries)  # checks every field
            if entries:
                self._newest = self._newest.after("memory", entries)
        return entries

    def refresh(self) -> bool:
        """See `ItemFeed.refresh`."""
        before, self._current = self._current, self._newest
        return self._current is not before
