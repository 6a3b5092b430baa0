"""The reading end of the event log: Parquet, sealed segments and segments that are being written, as one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from streamrec.contracts.errors import ArtifactError, DependencyError, InvalidInputError
from streamrec.events.arrow_tables import from_table
from streamrec.events.compacted_state import CompactedFile, CompactedState, load_state
from streamrec.events.event_log import EventSnapshot, assemble
from streamrec.events.records import Record
from streamrec.events.segments import OPEN_SUFFIX, SEALED_SUFFIX, read_segment, segments_folder

_ATTEMPTS: Final = 20


class FileEventReader:
    """Reads a log that others write and compact at the same time. Safe to use from several threads."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def snapshot(self) -> EventSnapshot:
        """Return every event once; see `EventReader.snapshot`. An empty log is an empty snapshot."""
        return assemble(self.records())

    def records(self) -> Iterator[Record]:
        """Yield every record as written, repetitions included, in no particular order.

        Raises:
            DependencyError: The log cannot be read.
            ArtifactError: A Parquet file or the state is damaged.
        """
        with ExitStack() as stack:
            try:
                state, segments = self._consistent_view(stack)
                for segment, sealed in segments:
                    yield from read_segment(segment, sealed=sealed).records
            except OSError as error:
                raise DependencyError(f"{self._root} cannot be read: {error}") from error
        for file in state.files:
            yield from self._read_parquet(file)

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

    def _read_parquet(self, file: CompactedFile) -> list[Record]:
        path = self._root / file.path
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise ArtifactError(f"{path} is missing; restore it from a backup") from error
        except OSError as error:
            raise DependencyError(f"{path} cannot be read: {error}") from error
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise ArtifactError(f"{path} is damaged: its digest has changed; restore it from a backup")
        try:
            # A path given to pyarrow would be taken apart for partition columns: give it the bytes.
            return from_table(file.kind, pq.read_table(pa.BufferReader(content)))
        except (pa.ArrowException, KeyError, InvalidInputError) as error:
            raise ArtifactError(f"{path} holds what is not a record: {error}") from error
