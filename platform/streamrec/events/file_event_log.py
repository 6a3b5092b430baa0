"""The event log on a folder: writing, reading and compaction under one name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa

from streamrec.events.compaction import KEEP_EVERYTHING, CompactionReport, CompactionSettings, compact
from streamrec.events.event_log import ALL_KINDS, EventSnapshot, LogExtent
from streamrec.events.reader import FileEventReader
from streamrec.events.records import Record, RecordKind
from streamrec.events.time_range import ALL_TIME, ALL_UNITS, TimeRange, UnitRange
from streamrec.events.write_ahead_log import (
    DEFAULT_SEGMENT_AGE_S,
    DEFAULT_SEGMENT_BYTES,
    WriteAheadLog,
)


class FileEventLog:
    """Implements `EventWriter` and `EventReader` on a folder that many processes may share."""

    def __init__(
        self,
        root: Path,
        *,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        segment_age_s: float = DEFAULT_SEGMENT_AGE_S,
    ) -> None:
        self._root = root
        self._writer = WriteAheadLog(root, segment_bytes=segment_bytes, segment_age_s=segment_age_s)
        self._reader = FileEventReader(root)

    def append(self, records: Sequence[Record], *, durable: bool = True) -> None:
        """Write all records or none; see `EventWriter.append`."""
        self._writer.append(records, durable=durable)

    def snapshot(
        self, window: TimeRange = ALL_TIME, kinds: Collection[RecordKind] = ALL_KINDS
    ) -> EventSnapshot:
        """Return every event once; see `EventReader.snapshot`."""
        return self._reader.snapshot(window, kinds)

    def table(
        self,
        kind: RecordKind,
        columns: Sequence[str] | None = None,
        window: TimeRange = ALL_TIME,
        units: UnitRange = ALL_UNITS,
    ) -> pa.Table:
        """Return columns of the events of one kind; see `EventReader.table`."""
        return self._reader.table(kind, columns, window, units)

    def extent(self) -> LogExtent:
        """Return how much there is; see `EventReader.extent`."""
        return self._reader.extent()

    def compact(self, settings: CompactionSettings = KEEP_EVERYTHING) -> CompactionReport:
        """Seal what is due and turn sealed segments into Parquet; see `compaction.compact`."""
        self.rotate_if_due()
        return compact(self._root, settings)

    def rotate_if_due(self) -> None:
        """Seal the segment if it is large or old; see `WriteAheadLog.rotate_if_due`."""
        self._writer.rotate_if_due()

    def rotate(self) -> None:
        """Seal the segment; see `WriteAheadLog.rotate`."""
        self._writer.rotate()

    def close(self) -> None:
        """Bring everything to the disk; see `WriteAheadLog.close`."""
        self._writer.close()
