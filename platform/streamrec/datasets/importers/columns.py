"""Reading foreign Parquet files batch by batch: which types a column may have, and its values row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from streamrec.contracts.errors import DataFolderError
from streamrec.datasets.importers import checks
from streamrec.datasets.importers.checks import Objects
from streamrec.datasets.quarantine import MAX_RAW_CHARACTERS, QuarantinedRow, Reason, Triage

BATCH_ROWS: Final = 131_072


@dataclass(frozen=True)
class ColumnKind:
    """What a column may be.

    Attributes:
        description: In words, for the error message.
        accepts: Whether an Arrow type will do.
    """

    description: str
    accepts: Callable[[pa.DataType], bool]


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_null(kind)
        or _is_bytes(kind)
    )


def _is_bytes(kind: pa.DataType) -> bool:
    """Text without its type, as Spark and Hive write it."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_list_of_text(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_null(kind))


def _is_time(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_integer(kind) or _is_text(kind)
    )


ID: Final = ColumnKind("text or whole numbers", lambda kind: _is_text(kind) or pa.types.is_integer(kind))
TEXT: Final = ColumnKind("text", _is_text)
TIME: Final = ColumnKind("timestamps, ISO 8601 text or whole seconds, ms, us or ns since 1970", _is_time)
NUMBER: Final = ColumnKind(
    "numbers",
    lambda kind: pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind),
)
TOPICS: Final = ColumnKind("lists of text", _is_list_of_text)


class ParquetParts:
    """One Parquet file, or a folder of part files as Spark writes it, read in the order of their names."""

    def __init__(self, path: Path) -> None:
        """Open every part.

        Raises:
            DataFolderError: A folder holds no part, or parts with other columns than the first.
        """
        paths = [path]
        if path.is_dir():
            hidden = ("_", ".")
            paths = sorted(part for part in path.glob("*.parquet") if not part.name.startswith(hidden))
            if not paths:
                raise DataFolderError(
                    path, None, "the folder holds no part file (*.parquet); join parts of another form"
                )
        self._files = [pq.ParquetFile(part) for part in paths]
        self.schema_arrow: Final = self._files[0].schema_arrow
        for part, file in zip(paths, self._files, strict=True):
            if not file.schema_arrow.equals(self.schema_arrow):
                self.__exit__()
                raise DataFolderError(part, None, f"has other columns than {paths[0].name}")

    @property
    def row_count(self) -> int:
        """Rows of all parts."""
        return sum(file.metadata.num_rows for file in self._files)

    def iter_batches(self, batch_size: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of all parts; of ``columns`` alone where they are said."""
        for file in self._files:
            yield from file.iter_batches(batch_size=batch_size, columns=columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for file in self._files:
            file.close()


@contextmanager
def open_parquet(
    path: Path, required: Mapping[str, ColumnKind], optional: Mapping[str, ColumnKind]
) -> Iterator[Rows]:
    """Yield the rows of ``path``, whose columns are checked.

    Raises:
        DataFolderError: The file is missing or no Parquet file, its parts do not fit together, it lacks a
            required column, or has a column of a type that cannot be read; also for a damaged page found
            while the block runs.
    """
    if not path.exists():
        raise DataFolderError(path, None, "the file does not exist")
    try:
        with ParquetParts(path) as file:
            schema = file.schema_arrow
            for name, kind in {**required, **optional}.items():
                if name not in schema.names:
                    if name in optional:
                        continue
                    found = ", ".join(schema.names)[:200]
                    raise DataFolderError(path, name, f"the column is missing; the file has {found}")
                if schema.names.count(name) > 1:
                    raise DataFolderError(path, name, "the file has the column twice")
                if not kind.accepts(schema.field(name).type):
                    raise DataFolderError(
                        path, name, f"has the type {schema.field(name).type}; it must hold {kind.description}"
                    )
            yield Rows(path, tuple(schema.names), _read_batches(file, path), file.row_count)
    except (pa.ArrowException, OSError) as error:
        raise DataFolderError(path, None, f"not a readable Parquet file ({error})") from error


@dataclass(frozen=True)
class Block:
    """Some rows of a file as they stand there.

    Attributes:
        columns: The rows that could be cut into columns.
        numbers: Shape (rows,): the number of each in the file.
        malformed: Rows before the end of the block that could not be cut.
        size: How much of the file it is.
    """

    columns: pa.RecordBatch
    numbers: NDArray[np.int64]
    malformed: list[QuarantinedRow]
    size: int


@dataclass(frozen=True)
class Texts:
    """A column of text by its distinct values: what holds of a value is found out once.

    Attributes:
        values: The distinct ones, None for null.
        codes: Shape (rows,): the position of each row's value.
        column: The column itself.
    """

    values: Objects
    codes: NDArray[np.int64]
    column: pa.Array

    def kept(self, accepted: NDArray[np.bool_]) -> pa.Array:
        """The text of the rows of ``accepted``, which holds no row that is no UTF-8."""
        return self.column.filter(pa.array(accepted)).cast(pa.string())


class Batch:
    """Some rows of a file. A column that the file lacks reads as one without any value.

    Attributes:
        row_count: How many.
        size: How much of the file they are, in the unit of `Rows.size`.
    """

    def __init__(
        self,
        columns: pa.RecordBatch,
        numbers: NDArray[np.int64],
        source: pa.RecordBatch | None = None,
        size: int | None = None,
    ) -> None:
        """``numbers`` are the rows' own in their file, ``source`` is what ``columns`` were made from."""
        self.row_count: Final = columns.num_rows
        self.size: Final = columns.num_rows if size is None else size
        self._columns = columns
        self._numbers = numbers
        self._source = columns if source is None else source

    def number(self, row: int) -> int:
        """The number of ``row`` in its file, from 1."""
        return int(self._numbers[row])

    def shown(self, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Some rows as they stand in the file, for quarantine; long values are cut."""
        chosen = self._source.take(pa.array(rows))
        names = chosen.schema.names
        columns = [[_shown(value) for value in chosen.column(name)] for name in names]
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]

    def coded(self, name: str) -> Texts:
        """A column of text or whole numbers by its distinct values."""
        column = self._column(name)
        if column is None:
            column = pa.nulls(self.row_count, pa.string())
        if pa.types.is_integer(column.type) or pa.types.is_null(column.type):
            column = column.cast(pa.string())
        coded = column.dictionary_encode("encode")
        codes = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        return Texts(_decoded(coded.dictionary), codes, column)

    def strings(self, name: str, triage: Triage) -> Objects:
        """Shape (rows,): text, None where null. Invalid UTF-8 is rejected."""
        values = self.texts(name)
        checks.check_utf8(triage, values, name)
        return values

    def texts(self, name: str) -> Objects:
        """Shape (rows,): text, None where null; a lone surrogate in it marks what is no UTF-8."""
        column = self._column(name)
        if column is None:
            return np.full(self.row_count, None, dtype=object)
        values = _decoded(column)
        if pa.types.is_integer(column.type):
            values = checks.as_objects([None if value is None else str(value) for value in values])
        return values

    def numbers(self, name: str, triage: Triage) -> NDArray[np.float64]:
        """Shape (rows,): numbers, NaN where null. A NaN or an infinity in the file is rejected."""
        column = self._column(name)
        if column is None:
            return np.full(self.row_count, np.nan)
        if _is_text(column.type) and not pa.types.is_null(column.type):
            plain = _plain_numbers(column)
            if plain is not None:
                return plain
            texts = self.strings(name, triage)
            blank = checks.per_distinct(texts, checks.is_blank)
            written = checks.as_objects(np.where(blank, "0", texts).tolist())
            return np.where(blank, np.nan, checks.parse_numbers(triage, written, name))
        known = np.asarray(column.is_valid())
        numbers: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        triage.reject(known & ~np.isfinite(numbers), Reason.NOT_FINITE, name)
        return numbers

    def times(self, name: str, triage: Triage) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Microseconds since 1970 UTC, shape (rows,), and whether there is a time.

        A time that is no time, or too far from 1970 for microseconds, is rejected.
        """
        column = self._column(name)
        if column is None:
            return np.zeros(self.row_count, dtype=np.int64), np.zeros(self.row_count, dtype=np.bool_)
        if _is_text(column.type):
            return self._parsed_times(name, triage)
        known = np.asarray(column.is_valid())
        if pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("ms"))
        unit = column.type.unit if pa.types.is_timestamp(column.type) else "s"
        if pa.types.is_uint64(column.type):
            triage.reject(np.asarray(pc.greater(column, 2**62).fill_null(False)), Reason.OUT_OF_RANGE, name)
        counts = column.cast(pa.int64(), safe=False).fill_null(0).to_numpy(zero_copy_only=False)
        if pa.types.is_integer(column.type):
            per_second = checks.unit_per_second(counts[known].astype(np.float64))
            unit = {1: "s", 1_000: "ms", 1_000_000: "us", 1_000_000_000: "ns"}[per_second]
        if unit == "ns":
            return counts // 1_000, known
        factor = {"s": 1_000_000, "ms": 1_000, "us": 1}[unit]
        # The bound leaves room for the check of the year that follows, and for nothing to wrap around.
        limit = np.iinfo(np.int64).max // (2 * factor)
        triage.reject(known & (np.abs(counts.astype(np.float64)) > limit), Reason.OUT_OF_RANGE, name)
        return np.clip(counts, -limit, limit) * factor, known

    def optional_times(
        self,
        name: str,
        triage: Triage,
        check: Callable[[Triage, NDArray[np.int64], NDArray[np.bool_], str], None],
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Like `times`, but a time that is none or fails ``check`` becomes unknown and its row stays."""
        faults = Triage(self.row_count)
        micros, known = self.times(name, faults)
        check(faults, micros, known, name)
        triage.repair(faults)
        return np.where(faults.accepted, micros, 0), known & faults.accepted

    def topics(self, name: str, triage: Triage) -> Objects:
        """Shape (rows,): lists of distinct topics without surrounding blanks; null is an empty list.

        Topics that cannot be used are left out or shortened and counted as repaired.
        """
        column = self._column(name)
        if column is None or pa.types.is_null(column.type):
            return checks.as_objects([[] for _ in range(self.row_count)])
        flat = _decoded(column.flatten())
        ends = np.cumsum(pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False))
        rows: list[list[str]] = []
        start = 0
        for end in ends.tolist():
            names = (value.strip() for value in flat[start:end] if value is not None)
            rows.append(list(dict.fromkeys(topic for topic in names if topic)))
            start = end
        return checks.as_objects(checks.repaired_topics(triage, rows, name))

    def _column(self, name: str) -> pa.Array | None:
        if name not in self._columns.schema.names:
            return None
        column = self._columns.column(name)
        return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column

    def _parsed_times(self, name: str, triage: Triage) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        texts = self.strings(name, triage)
        blank = checks.per_distinct(texts, checks.is_blank)
        series = pd.Series(texts, dtype=object).where(~blank, None)
        times = pd.to_datetime(series, errors="coerce", utc=True, format="ISO8601")
        known = times.notna().to_numpy()
        near = times.dt.year.between(checks.EARLIEST_YEAR + 1, checks.LATEST_YEAR - 1).to_numpy()
        doubtful = np.flatnonzero(~blank & ~near)
        far = np.zeros(self.row_count, dtype=np.bool_)
        far[doubtful] = checks.per_distinct(texts[doubtful], checks.is_far_year)
        triage.reject(far, Reason.OUT_OF_RANGE, name)
        triage.reject(~blank & ~known, Reason.NOT_A_TIME, name)
        micros = times.dt.tz_localize(None).to_numpy().astype("datetime64[us]").astype(np.int64)
        return np.where(known, micros, 0), known


@dataclass(frozen=True)
class Rows:
    """The rows of one file, to be read once.

    Attributes:
        path: The file.
        names: Its columns, as the neutral format calls them.
        batches: The rows in order. A damaged place in the file raises a `DataFolderError` here.
        size: How much there is to read, in rows or in bytes; see `Batch.size`.
    """

    path: Path
    names: tuple[str, ...]
    batches: Iterator[Batch]
    size: int


def _read_batches(file: ParquetParts, path: Path) -> Iterator[Batch]:
    first_row = 1
    try:
        for columns in file.iter_batches(BATCH_ROWS):
            yield Batch(columns, np.arange(first_row, first_row + columns.num_rows))
            first_row += columns.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataFolderError(path, None, f"damaged near row {first_row} ({error})") from error


def _plain_numbers(column: pa.Array) -> NDArray[np.float64] | None:
    """Shape (rows,): a column of text as numbers, NaN where null; None where it holds anything else."""
    try:
        numbers = column.cast(pa.string()).cast(pa.float64())
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    known = np.asarray(numbers.is_valid())
    values: NDArray[np.float64] = numbers.to_numpy(zero_copy_only=False)
    return values if np.isfinite(values[known]).all() else None


def _decoded(column: pa.Array) -> Objects:
    try:
        if _is_bytes(column.type):
            column = column.cast(pa.string())
        values: Objects = column.to_numpy(zero_copy_only=False).astype(object)
    except (UnicodeDecodeError, pa.ArrowException):
        # Arrow does not check text when it reads it. A lone surrogate marks what is no UTF-8.
        raw = column.cast(pa.binary()).to_pylist()
        return checks.as_objects([None if x is None else x.decode("utf-8", "surrogateescape") for x in raw])
    return values


def _shown(value: pa.Scalar) -> Any:
    try:
        shown = value.as_py()
    except (UnicodeDecodeError, ValueError, OverflowError):
        if _is_text(value.type):
            raw: bytes = value.as_buffer().to_pybytes()
            return _text_of(raw)
        # A time that Python cannot express, or a list with text that is no UTF-8.
        return f"<a {value.type} that cannot be shown>"
    if isinstance(shown, bytes):
        return _text_of(shown)
    if isinstance(shown, list):
        shown = [_text_of(value) if isinstance(value, bytes) else value for value in shown]
    return shown[:MAX_RAW_CHARACTERS] if isinstance(shown, str | list) else shown


def _text_of(raw: bytes) -> str:
    return raw[:MAX_RAW_CHARACTERS].decode("utf-8", "backslashreplace")
