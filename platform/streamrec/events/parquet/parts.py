"""The Parquet files of the log: written as a stream, read with their digest checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from streamrec.contracts.errors import ArtifactError, DependencyError, InvalidInputError
from streamrec.events.arrow_tables import SCHEMAS, in_todays_form, is_version_1
from streamrec.events.compacted_state import CompactedFile, parquet_folder
from streamrec.events.records import RecordKind
from streamrec.files import durable_files

ROW_GROUP_ROWS: Final = 100_000
"""Rows that are in memory at once while parts are merged."""


class PartMissingError(ArtifactError):
    """A part is gone: merged or expired since the state was read, unless the state still names it."""


class PartWriter:
    """Writes one part, a table at a time, under a name that no state mentions yet.

    After `close` it is on the disk. One that is not closed is a leftover that the next compaction removes.
    """

    def __init__(self, root: Path, generation: int, kind: RecordKind, day: date) -> None:
        self._root, self._kind, self._day = root, kind, day
        folder = parquet_folder(root) / f"kind={kind.value}" / f"date={day.isoformat()}"
        durable_files.make_folder(folder)
        self._path = folder / f"part-{generation:010d}.parquet"
        self._digest = hashlib.sha256()
        self._file = self._path.open("wb")
        self._rows = 0
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self, mode="w"), SCHEMAS[kind], compression="zstd", compression_level=3
        )

    @property
    def closed(self) -> bool:
        """Whether the file is closed; for pyarrow, which writes to this object."""
        return self._file.closed

    def write(self, content: bytes) -> int:
        """Take bytes of the file; for pyarrow."""
        self._digest.update(content)
        return self._file.write(content)

    def flush(self) -> None:
        """Hand what was written to the operating system; for pyarrow."""
        self._file.flush()

    def add(self, table: pa.Table) -> None:
        """Write rows.

        Args:
            table: All of the kind's columns, as `in_todays_form` returns them.
        """
        self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        self._rows += table.num_rows

    def close(self) -> CompactedFile:
        """Bring the file to the disk and return what the state must say of it. Raises `OSError`."""
        self._writer.close()
        self._file.flush()
        durable_files.fsync_file(self._file.fileno())
        self._file.close()
        durable_files.fsync_folder(self._path.parent)
        name = self._path.relative_to(self._root).as_posix()
        return CompactedFile(name, self._kind, self._day, self._rows, self._digest.hexdigest())

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


class PartReader:
    """Reads parts of one log. Each file's digest is checked once, as long as the file does not change."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._verified: dict[str, tuple[int, int, int]] = {}

    def read(self, file: CompactedFile, columns: Sequence[str] | None = None) -> pa.Table:
        """Return columns of a part, in today's form; all of its kind's where ``columns`` is None.

        Raises:
            PartMissingError: It is not there.
            ArtifactError: It is damaged.
            DependencyError: It cannot be read.
        """
        return self.open(file).read(columns)

    def open(self, file: CompactedFile) -> Part:
        """Take a part's bytes into memory and check them; see `read`."""
        path = self._root / file.path
        try:
            with path.open("rb") as opened:
                status = path.stat()
                content = opened.read()
        except FileNotFoundError as error:
            raise PartMissingError(f"{path} is missing; restore it from a backup") from error
        except OSError as error:
            raise DependencyError(f"{path} cannot be read: {error}") from error
        identity = (status.st_ino, status.st_size, status.st_mtime_ns)
        if self._verified.get(file.path) != identity:
            if hashlib.sha256(content).hexdigest() != file.sha256:
                raise ArtifactError(f"{path} is damaged: its digest has changed; restore it from a backup")
            self._verified[file.path] = identity
        return Part(path, file.kind, content)


class Part:
    """One part in memory, its digest checked."""

    def __init__(self, path: Path, kind: RecordKind, content: bytes) -> None:
        self._path, self._kind = path, kind
        try:
            # A path given to pyarrow would be taken apart for partition columns: give it the bytes.
            self._parquet = pq.ParquetFile(pa.BufferReader(content))
        except pa.ArrowException as error:
            raise self._damaged(error) from error

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return columns; see `PartReader.read`."""
        return self._in_todays_form(self._parquet.read(self._stored(columns)), columns)

    def row_groups(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield all rows, one row group after the other; columns as in `read`."""
        stored = self._stored(columns)
        for number in range(self._parquet.num_row_groups):
            yield self._in_todays_form(self._parquet.read_row_group(number, stored), columns)

    def _stored(self, columns: Sequence[str] | None) -> list[str] | None:
        names = self._parquet.schema_arrow.names
        if columns is None or is_version_1(names):
            return None
        return [name for name in dict.fromkeys(("schema", *columns)) if name in names]

    def _in_todays_form(self, table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
        try:
            return in_todays_form(self._kind, table, columns)
        except (pa.ArrowException, KeyError, InvalidInputError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> ArtifactError:
        return ArtifactError(f"{self._path} holds what is not a record: {error}")
