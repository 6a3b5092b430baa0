"""The event log on a folder: writing, reading and compaction under one name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streamrec.events.compaction import CompactionReport, compact
from streamrec.events.event_log import EventSnapshot
from streamrec.events.reader import FileEventReader
from streamrec.events.records import Record
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

    def snapshot(self) -> EventSnapshot:
        """Return every event once; see `EventReader.snapshot`."""
        return self._reader.snapshot()

    def compact(self) -> CompactionReport:
        """Seal what is due and turn sealed segments into Parquet; see `compaction.compact`."""
        self._writer.rotate_if_due()
        return compact(self._root)

    def close(self) -> None:
        """Bring everything to the disk; see `WriteAheadLog.close`."""
        self._writer.close()
