"""Recently seen event ids, so that an event that is sent again does not count again."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock


class RecentIds:
    """The last ``maximum`` ids. Safe to use from several threads.

    This is the cheap first line: what has fallen out, or was seen by another process, is caught by the
    event log's reader, which deduplicates everything.
    """

    def __init__(self, maximum: int) -> None:
        if maximum < 1:
            raise ValueError("there must be room for one id")
        self._maximum = maximum
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        with self._lock:
            return len(self._ids)

    def __contains__(self, identifier: str) -> bool:
        with self._lock:
            return identifier in self._ids

    def add(self, identifier: str) -> bool:
        """Remember an id; True if it is new. Of two threads with the same id, one gets True."""
        with self._lock:
            if identifier in self._ids:
                self._ids.move_to_end(identifier)
                return False
            self._ids[identifier] = None
            if len(self._ids) > self._maximum:
                self._ids.popitem(last=False)
            return True
