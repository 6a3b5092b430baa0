"""The event log without a disk: for tests and for offline simulations."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from streamrec.events.event_log import EventSnapshot, assemble
from streamrec.events.records import Record
from streamrec.events.segments import frame


class MemoryEventLog:
    """Implements `EventWriter` and `EventReader` in memory. Safe to use from several threads."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._lock = Lock()

    def append(self, records: Sequence[Record], *, durable: bool = True) -> None:  # noqa: ARG002  # no disk
        """Keep all records or none; see `EventWriter.append`."""
        for record in records:
            frame(record)
        with self._lock:
            self._records.extend(records)

    def snapshot(self) -> EventSnapshot:
        """Return every event once; see `EventReader.snapshot`."""
        with self._lock:
            records = tuple(self._records)
        return assemble(records)

    def close(self) -> None:
        """Do nothing: nothing is held open."""
