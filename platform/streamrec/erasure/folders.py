"""A person in the files of a folder: Parquet tables of any maker, and whatever else names the person."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streamrec.contracts.errors import DependencyError
from streamrec.erasure.stores import Trace
from streamrec.events.persons import PERSON_FIELDS, named_in
from streamrec.files import durable_files

_RAW_COLUMN: Final = "raw"
"""Of a quarantined row of an import: the row as it stood in the source."""

_TEXT_SUFFIXES: Final = frozenset({".json", ".jsonl", ".ndjson", ".log", ".md", ".html", ".csv", ".txt"})
_TEXT_PIECE_CHARACTERS: Final = 1 << 20
_TEMPORARY_SUFFIX: Final = ".erasing"


class FolderData:
    """Implements `PersonalData` for the files below a folder. Rows of Parquet tables are removed.

    A table belongs to a person's data if it has one of the columns `PERSON_FIELDS`. Other files that name the
    person in such a field are found and not changed: nobody here knows how to write them.
    """

    def __init__(self, name: str, folder: Path, *, without: Collection[Path] = ()) -> None:
        """Set it up.

        Args:
            name: What it is, for the report.
            folder: Is looked through whole.
            without: Folders in it that another store looks after.
        """
        self.name = name
        self._folder = folder
        self._without = tuple(without)

    def remove(self, person: str) -> int:
        """See `PersonalData.remove`."""
        for leftover in self._files(f"*{_TEMPORARY_SUFFIX}"):  # of a run that was killed
            leftover.unlink(missing_ok=True)
        return sum(self._remove_from(path, person) for path in self._files("*.parquet"))

    def find(self, person: str) -> list[Trace]:
        """See `PersonalData.find`."""
        traces = []
        for path in self._files():
            if path.suffix == ".parquet":
                count = _rows_about(path, person)
            elif path.suffix in _TEXT_SUFFIXES:
                count = _mentions(path, person)
            else:
                count = 0
            if count:
                traces.append(Trace(path.relative_to(self._folder.parent).as_posix(), count))
        return traces

    def _files(self, pattern: str = "*") -> Iterator[Path]:
        for path in sorted(self._folder.rglob(pattern)):
            if path.is_file() and not any(path.is_relative_to(other) for other in self._without):
                yield path

    def _remove_from(self, path: Path, person: str) -> int:
        removed = _rows_about(path, person)
        if not removed:
            return 0
        temporary = path.with_name(path.name + _TEMPORARY_SUFFIX)
        try:
            with (
                pq.ParquetFile(path) as table,
                pq.ParquetWriter(temporary, table.schema_arrow, compression="zstd") as writer,
            ):
                for number in range(table.num_row_groups):
                    rows = table.read_row_group(number)
                    writer.write_table(rows.filter(pc.invert(_about(rows, person))))
            shutil.copymode(path, temporary)
            durable_files.replace_with(path, temporary)
        except (OSError, pa.ArrowException) as error:
            raise DependencyError(f"the person could not be removed from {path}: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)
        return removed


def _rows_about(path: Path, person: str) -> int:
    try:
        with pq.ParquetFile(path) as table:
            columns = [name for name in (*PERSON_FIELDS, _RAW_COLUMN) if name in table.schema_arrow.names]
            if not columns:
                return 0
            return sum(
                int(pc.sum(_about(batch, person)).as_py() or 0)
                for number in range(table.num_row_groups)
                for batch in [table.read_row_group(number, columns=columns)]
            )
    except (OSError, pa.ArrowException) as error:
        raise DependencyError(f"{path} cannot be searched: {error}") from error


def _about(rows: pa.Table, person: str) -> pa.ChunkedArray:
    """Return for each row whether it is about the person."""
    # A word of its own, whatever separates the columns of the source.
    word = rf"(^|[^\pL\pN_.@-]){re.escape(person)}($|[^\pL\pN_.@-])"
    mask = pa.chunked_array([pa.repeat(pa.scalar(False), rows.num_rows)])
    for name in PERSON_FIELDS:
        if name in rows.column_names:
            mask = pc.or_(mask, pc.fill_null(pc.equal(pc.cast(rows[name], pa.string()), person), False))
    if _RAW_COLUMN in rows.column_names:
        mask = pc.or_(mask, pc.fill_null(pc.match_substring_regex(rows[_RAW_COLUMN], word), False))
    return mask


def _mentions(path: Path, person: str) -> int:
    """Count the fields of a text file that name the person; a field that two pieces share is seen whole."""
    count, tail = 0, ""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            while piece := file.read(_TEXT_PIECE_CHARACTERS):
                count += named_in(tail + piece).count(person)
                tail = piece[-2_000:]
                count -= named_in(tail).count(person)
    except OSError as error:
        raise DependencyError(f"{path} cannot be searched: {error}") from error
    return count + named_in(tail).count(person)
