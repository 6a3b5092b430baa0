"""The event log without a disk: for tests and for offline simulations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from threading import Lock

import pyarrow as pa

from streamrec.events.arrow_tables import column_names, to_table
from streamrec.events.event_log import ALL_KINDS, EventSnapshot, LogExtent, assemble, within
from streamrec.events.records import Record, RecordKind, kind_of, moment_of, partition_date
from streamrec.events.repetitions import REPETITION_HORIZON, of_units, records_of
from streamrec.events.segments import frame
from streamrec.events.time_range import ALL_TIME, ALL_UNITS, TimeRange, UnitRange


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

    def snapshot(
        self, window: TimeRange = ALL_TIME, kinds: Collection[RecordKind] = ALL_KINDS
    ) -> EventSnapshot:
        """Return every event once; see `EventReader.snapshot`."""
        wider = window.begun_earlier(REPETITION_HORIZON)
        with self._lock:
            records = [
                record for record in self._records if moment_of(record) in wider and kind_of(record) in kinds
            ]
        return within(assemble(records), window)

    def table(
        self,
        kind: RecordKind,
        columns: Sequence[str] | None = None,
        window: TimeRange = ALL_TIME,
        units: UnitRange = ALL_UNITS,
    ) -> pa.Table:
        """Return columns of the events of one kind; see `EventReader.table`."""
        names = column_names(kind, columns)
        table = to_table(kind, records_of(self.snapshot(window), kind))
        return of_units(kind, table, units).select(names)

    def extent(self) -> LogExtent:
        """Return how much there is; see `EventReader.extent`."""
        with self._lock:
            return LogExtent(Counter((kind_of(kept), partition_date(kept)) for kept in self._records), 0)

    def rotate_if_due(self) -> None:
        """Do nothing: there are no segments."""

    def rotate(self) -> None:
        """Do nothing: there are no segments."""

    def close(self) -> None:
        """Do nothing: nothing is held open."""
