"""A person in the event log: in segments, in Parquet, and among the events that were set aside."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamrec.contracts.errors import DependencyError
from streamrec.erasure.stores import Trace
from streamrec.events.arrow_tables import from_table
from streamrec.events.compacted_state import CompactedFile, load_state
from streamrec.events.compaction import KEEP_EVERYTHING, LOCK_FILE, clean_up, compact
from streamrec.events.parquet.merging import rewrite
from streamrec.events.parquet.parts import PartReader
from streamrec.events.persons import persons_of
from streamrec.events.records import QuarantinedEvent, Record, RecordKind
from streamrec.events.segments import SEALED_SUFFIX, SegmentRecords, segments_folder
from streamrec.files.locks import only_holder

_LOCK_TIMEOUT_S: Final = 120.0
_POLL_S: Final = 0.2
_UNIT_COLUMNS: Final = {RecordKind.LABEL: "subject"}


class EventLogData:
    """Implements `PersonalData` for an event log that others may be writing."""

    name = "event log"

    def __init__(
        self, root: Path, *, writers_timeout_s: float = 10.0, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Set it up.

        Args:
            root: The folder of the log.
            writers_timeout_s: How long to wait for services to let go of segments that hold the person. They
                do so when they hear of the erasure.
            sleep: Waits for seconds.
        """
        self._root, self._writers_timeout_s, self._sleep = root, writers_timeout_s, sleep

    def remove(self, person: str) -> int:
        """See `PersonalData.remove`."""
        if not self._root.is_dir():
            return 0
        removed, waited_s = self._compact(person), 0.0
        while self._in_segments(person) and waited_s < self._writers_timeout_s:
            self._sleep(_POLL_S)
            waited_s += _POLL_S
            removed += self._compact(person)
        return removed + self._remove_from_parts(person)

    def find(self, person: str) -> list[Trace]:
        """See `PersonalData.find`."""
        if not self._root.is_dir():
            return []
        found = self._in_segments(person)
        with self._held():
            found += [(file.path, self._in_part(file, person)) for file in load_state(self._root).files]
        return [Trace(f"{self._root.name}/{place}", records) for place, records in found if records]

    def _compact(self, person: str) -> int:
        settings = replace(KEEP_EVERYTHING, is_erased=lambda other: other == person)
        return compact(self._root, settings, lock_timeout_s=_LOCK_TIMEOUT_S).erased_records

    def _remove_from_parts(self, person: str) -> int:
        removed = 0
        with self._held():
            state = clean_up(self._root, load_state(self._root))
            for file in state.files:
                records = self._in_part(file, person)
                if records:
                    state = rewrite(self._root, state, file, _without(file.kind, person))
                    removed += records
        return removed

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Keep compactions from moving what is looked through."""
        held = f"{self._root}: a compaction is running for more than {_LOCK_TIMEOUT_S:g} s; try again"
        try:
            with only_holder(self._root / LOCK_FILE, held, timeout_s=_LOCK_TIMEOUT_S):
                yield
        except (OSError, pa.ArrowException) as error:
            raise DependencyError(f"{self._root} cannot be read or written: {error}") from error

    def _in_part(self, file: CompactedFile, person: str) -> int:
        columns = None if file.kind is RecordKind.QUARANTINED else [_unit_column(file.kind)]
        return _count(_mentions(file.kind, PartReader(self._root).read(file, columns), person))

    def _in_segments(self, person: str) -> list[tuple[str, int]]:
        found = []
        for path in sorted(segments_folder(self._root).glob("*")):
            try:
                with path.open("rb") as file:
                    records = SegmentRecords(file, sealed=path.suffix == SEALED_SUFFIX)
                    count = sum(_is_about(record, person) for record in records)
            except FileNotFoundError:
                continue  # it was sealed or compacted meanwhile, and is found where it went
            except OSError as error:
                raise DependencyError(f"{path} cannot be read: {error}") from error
            if count:
                found.append((f"{path.parent.name}/{path.name}", count))
        return found


def _without(kind: RecordKind, person: str) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.filter(pc.invert(_mentions(kind, table, person)))


def _mentions(kind: RecordKind, table: pa.Table, person: str) -> pa.ChunkedArray | pa.Array:
    """Return for each row whether it is about the person."""
    if kind is RecordKind.QUARANTINED:
        return pa.array([_is_about(record, person) for record in from_table(kind, table)], pa.bool_())
    return pc.equal(table[_unit_column(kind)], person)


def _is_about(record: Record, person: str) -> bool:
    if person in persons_of(record):
        return True
    # A damaged line may have lost the name of the field and kept the id.
    return isinstance(record, QuarantinedEvent) and json.dumps(person, ensure_ascii=False) in record.payload


def _unit_column(kind: RecordKind) -> str:
    return _UNIT_COLUMNS.get(kind, "unit")


def _count(mask: pa.ChunkedArray | pa.Array) -> int:
    return int(np.count_nonzero(mask.to_numpy(zero_copy_only=False))) if len(mask) else 0
