"""The reading end of the event log: Parquet, sealed segments and segments that are being written, as one.

A read costs what lies in its range: parts of other days and of other kinds are not opened, and columns that
nobody asked for are not decoded. Segments hold what has come since the last compaction; they are read whole.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import pyarrow as pa

from streamrec.contracts.errors import ArtifactError, DependencyError, InvalidInputError
from streamrec.events import repetitions
from streamrec.events.arrow_tables import SCHEMAS, column_names, from_table, in_todays_form, to_table
from streamrec.events.compacted_state import CompactedState, load_state
from streamrec.events.event_log import ALL_KINDS, EventSnapshot, LogExtent, assemble, within
from streamrec.events.parquet.parts import PartMissingError, PartReader
from streamrec.events.records import QuarantinedEvent, Record, RecordKind, kind_of, moment_of, partition_date
from streamrec.events.repetitions import CLIENT_TIMES, REPETITION_HORIZON
from streamrec.events.segments import OPEN_SUFFIX, SEALED_SUFFIX, SegmentRecords, segments_folder
from streamrec.events.time_range import ALL_TIME, ALL_UNITS, TimeRange, UnitRange

_ATTEMPTS: Final = 20

T = TypeVar("T")


class _Written:
    """What stands in segments: as records, and as tables once they are asked for."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self._tables: dict[RecordKind, pa.Table] = {}

    def table(self, kind: RecordKind) -> pa.Table:
        table = self._tables.get(kind)
        if table is None:
            table = to_table(kind, [record for record in self.records if kind_of(record) is kind])
            self._tables[kind] = table
        return table


class FileEventReader:
    """Reads a log that others write and compact at the same time. Safe to use from several threads."""

    def __init__(self, root: Path, *, remembers_segments: bool = False) -> None:
        """Set it up.

        Args:
            root: The folder of the log.
            remembers_segments: Keep what stands in segments between reads as long as nothing is written: for
                whoever reads many ranges, one after the other.
        """
        self._root = root
        self._parts = PartReader(root)
        self._remembers_segments = remembers_segments
        self._remembered: tuple[object, _Written] = (None, _Written(()))

    def snapshot(
        self, window: TimeRange = ALL_TIME, kinds: Collection[RecordKind] = ALL_KINDS
    ) -> EventSnapshot:
        """Return every event once; see `EventReader.snapshot`. An empty log is an empty snapshot."""
        wider = window.begun_earlier(REPETITION_HORIZON)
        return within(assemble(self.records(wider, kinds)), window)

    def table(
        self,
        kind: RecordKind,
        columns: Sequence[str] | None = None,
        window: TimeRange = ALL_TIME,
        units: UnitRange = ALL_UNITS,
    ) -> pa.Table:
        """Return columns of the events of one kind, every event once; see `EventReader.table`."""
        names = column_names(kind, columns)
        if kind is RecordKind.QUARANTINED:
            return repetitions.of_units(kind, self._quarantined(window).select(names), units)
        needed = tuple(dict.fromkeys([*repetitions.needed_columns(kind), *names]))

        def read(state: CompactedState, segments: _Written) -> pa.Table:
            written = segments.table(kind)

            def rows(columns: Sequence[str], window: TimeRange) -> pa.Table:
                # One table after the other: what does not belong to the answer is not held.
                tables = chain(
                    (in_todays_form(kind, written, columns),),
                    self._part_tables(state, kind, columns, window, whole=units == ALL_UNITS),
                )
                inside = [
                    repetitions.of_units(kind, repetitions.restricted(kind, table, window), units)
                    for table in tables
                ]
                return repetitions.with_possible_times(kind, pa.concat_tables(inside))

            table = rows(needed, window)
            if repetitions.repeats(kind, table):
                table = repetitions.once(kind, rows(SCHEMAS[kind].names, window))
            if kind in CLIENT_TIMES and window.start is not None:
                before = TimeRange(window.start - REPETITION_HORIZON, window.start)
                table = repetitions.without(kind, table, rows(repetitions.needed_columns(kind), before))
            return table

        return self._read(read).select(names)

    def records(
        self, window: TimeRange = ALL_TIME, kinds: Collection[RecordKind] = ALL_KINDS
    ) -> tuple[Record, ...]:
        """Return every record as written, repetitions included, in no particular order.

        Raises:
            DependencyError: The log cannot be read.
            ArtifactError: A Parquet file or the state is damaged.
        """

        def read(state: CompactedState, segments: _Written) -> tuple[Record, ...]:
            found = [record for record in segments.records if kind_of(record) in kinds]
            for kind in kinds:
                for table in self._part_tables(state, kind, SCHEMAS[kind].names, window):
                    found.extend(self._records_of(kind, table))
            return tuple(record for record in found if moment_of(record) in window)

        return self._read(read)

    def extent(self) -> LogExtent:
        """Return how much there is; see `EventReader.extent`."""

        def read(state: CompactedState, segments: _Written) -> LogExtent:
            records = Counter((kind_of(record), partition_date(record)) for record in segments.records)
            for file in state.files:
                records[file.kind, file.date] += file.rows
            return LogExtent(records, state.generation)

        return self._read(read)

    def _quarantined(self, window: TimeRange) -> pa.Table:
        """Return what was set aside, by a writer or because its time is impossible."""

        def read(state: CompactedState, segments: _Written) -> tuple[Record, ...]:
            found: list[Record] = [
                record for record in segments.records if isinstance(record, QuarantinedEvent)
            ]
            for table in self._part_tables(state, RecordKind.QUARANTINED, None, window):
                found.extend(self._records_of(RecordKind.QUARANTINED, table))
            for kind in CLIENT_TIMES:
                for table in (segments.table(kind), *self._part_tables(state, kind, None, window)):
                    found.extend(self._records_of(kind, repetitions.with_impossible_times(kind, table)))
            return tuple(found)

        set_aside = within(assemble(self._read(read)), window).quarantined
        return to_table(RecordKind.QUARANTINED, set_aside)

    def _part_tables(
        self,
        state: CompactedState,
        kind: RecordKind,
        columns: Sequence[str] | None,
        window: TimeRange,
        *,
        whole: bool = True,
    ) -> Iterator[pa.Table]:
        """Yield the tables of parts that a window touches: whole parts, or a row group after the other."""
        for file in state.files:
            if file.kind is kind and window.touches(file.date):
                if whole:
                    yield self._parts.read(file, columns)
                else:
                    yield from self._parts.open(file).row_groups(columns)

    def _records_of(self, kind: RecordKind, table: pa.Table) -> list[Record]:
        try:
            return from_table(kind, table)
        except (pa.ArrowException, KeyError, InvalidInputError) as error:
            raise ArtifactError(f"a part of {self._root} holds what is not a record: {error}") from error

    def _read(self, action: Callable[[CompactedState, _Written], T]) -> T:
        """Call ``action`` with one consistent view of the log: the state, and the records in segments.

        Compaction removes parts that it has merged. Whoever finds one gone looks at the state again.
        """
        for _ in range(_ATTEMPTS):
            with ExitStack() as stack:
                try:
                    state, segments = self._consistent_view(stack)
                    written = self._written(segments)
                except OSError as error:
                    raise DependencyError(f"{self._root} cannot be read: {error}") from error
            try:
                return action(state, written)
            except PartMissingError:
                if load_state(self._root).generation == state.generation:
                    raise
        raise DependencyError(f"{self._root}: the parts change faster than they can be read")

    def _written(self, segments: Sequence[tuple[BinaryIO, bool]]) -> _Written:
        """Read segments. They only grow: one of the same size under the same name holds the same."""
        seen = tuple(
            (segment.name, os.fstat(segment.fileno()).st_size, sealed) for segment, sealed in segments
        )
        if self._remembers_segments and self._remembered[0] == seen:
            return self._remembered[1]
        written = _Written(
            [record for segment, sealed in segments for record in SegmentRecords(segment, sealed=sealed)]
        )
        if self._remembers_segments:
            self._remembered = (seen, written)
        return written

    def _consistent_view(self, stack: ExitStack) -> tuple[CompactedState, list[tuple[BinaryIO, bool]]]:
        """Open all segments that the state does not count as compacted.

        A segment that is open can be read even after compaction has removed it. If the state changed while
        they were being opened, a segment could be missing from both: then look again.
        """
        for _ in range(_ATTEMPTS):
            before = load_state(self._root)
            with ExitStack() as attempt:
                opened = self._open_segments(attempt, before)
                if opened is not None and load_state(self._root).generation == before.generation:
                    stack.push(attempt.pop_all())
                    return before, opened
        raise DependencyError(f"{self._root}: the segments change faster than they can be listed")

    def _open_segments(self, stack: ExitStack, state: CompactedState) -> list[tuple[BinaryIO, bool]] | None:
        """Open the segments, each with whether it is sealed; None if the folder changed meanwhile.

        Listing a folder may miss a file that is renamed during it, so the listing must come out twice.
        """
        listed = self._list_segments(state)
        opened: list[tuple[BinaryIO, bool]] = []
        for path in listed:
            try:
                opened.append((stack.enter_context(path.open("rb")), path.suffix == SEALED_SUFFIX))
            except FileNotFoundError:
                return None
        return opened if self._list_segments(state) == listed else None

    def _list_segments(self, state: CompactedState) -> list[Path]:
        return sorted(
            path
            for path in segments_folder(self._root).glob("*")
            if path.suffix in (OPEN_SUFFIX, SEALED_SUFFIX) and path.name not in state.consumed
        )
