"""Foreign tables as blocks of rows: CSV, TSV, JSON lines, Parquet, plain or compressed; pyarrow reads."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from streamrec.contracts.errors import DataFolderError
from streamrec.datasets.importers.columns import BATCH_ROWS, Block, ParquetParts
from streamrec.datasets.importers.json_lines import json_blocks
from streamrec.datasets.quarantine import QuarantinedRow, Reason

BLOCK_BYTES: Final = 2 * 2**20
"""Of text that is read at once; no row can be much longer. pyarrow reads up to 32 blocks of CSV ahead."""

_JSON_BLOCK_BYTES: Final = 8 * 2**20

_COMPRESSED: Final = frozenset({".gz", ".gzip", ".bz2", ".zst", ".lz4"})
_MAGIC: Final = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}
_DELIMITERS: Final = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t", ".user": "\t"}
_LIKELY_DELIMITERS: Final = (";", "\t", "|", ",")
_RECBOLE: Final = frozenset({".inter", ".item", ".user"})
_JSON_LINES: Final = frozenset({".jsonl", ".ndjson", ".json"})
_FOREIGN: Final = {
    b"PK\x03\x04": "is a ZIP archive or a spreadsheet; unpack it, or export the sheet as CSV",
    b"SQLite format 3": "is an SQLite database; export the table as CSV",
    b"\x89HDF": "is an HDF5 file; export the table as Parquet",
}
_ADVICE: Final = {
    "invalid UTF8": "text that is not UTF-8 needs --encoding",
    "straddling": f"a row is longer than {BLOCK_BYTES // 2**20} MiB, or a quote is never closed",
    "Truncated": "the file ends too early; fetch it again",
    "ended before": "the file ends too early; fetch it again",
}


@dataclass(frozen=True)
class TableForm:
    """How text files are written, where their names do not say it.

    Attributes:
        delimiter: Between fields; None: a comma in ``.csv``, a tab in ``.tsv`` and RecBole's files.
        encoding: Of the text.
        columns: Names of the columns of a file without a header.
    """

    delimiter: str | None = None
    encoding: str = "utf-8"
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class OpenedTable:
    """A file whose columns are known.

    Attributes:
        names: The columns, as the file calls them.
        size: How much there is to read, in bytes of the file or in rows of Parquet; see `Block.size`.
        blocks: Reads the rows, those of the named columns alone; call it once.
    """

    names: tuple[str, ...]
    size: int
    blocks: Callable[[Sequence[str]], Iterator[Block]] = field(repr=False)


@contextmanager
def open_table(path: Path, form: TableForm) -> Iterator[OpenedTable]:
    """Yield ``path`` opened; memory is bounded by a block of it.

    Raises:
        DataFolderError: The file is missing, of an unknown format or unreadable; also while the block runs.
    """
    if not path.exists():
        raise DataFolderError(path, None, "the file does not exist")
    try:
        suffix = next(
            (name for name in map(str.lower, reversed(path.suffixes)) if name not in _COMPRESSED), ""
        )
        if path.is_dir() or suffix in (".parquet", ".pq"):
            with ParquetParts(path) as parts:
                names = tuple(parts.schema_arrow.names)
                yield OpenedTable(names, parts.row_count, lambda columns: _parquet_blocks(parts, columns))
            return
        start = _start(path, form)
        if suffix in _JSON_LINES:
            if start.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
                raise DataFolderError(path, None, "holds one JSON array; write one object a line instead")
            with _stream(path) as (file, stream):
                names, blocks = json_blocks(stream, file.tell, form.encoding, _JSON_BLOCK_BYTES)
                yield OpenedTable(names, path.stat().st_size, blocks)
            return
        delimiter = form.delimiter or _DELIMITERS.get(suffix)
        if delimiter is None:
            raise DataFolderError(
                path, None, "the name tells no format (.csv, .tsv, .jsonl, .parquet); pass --delimiter"
            )
        with _stream(path) as (_, stream):
            names = tuple(_reader(stream, delimiter, form, None, []).schema.names)
        shown = tuple(name.split(":")[0] for name in names) if suffix in _RECBOLE else names
        _refuse_one_column(path, shown, delimiter)
        real = dict(zip(shown, names, strict=True))
        with _stream(path) as (file, stream):
            yield OpenedTable(
                shown,
                path.stat().st_size,
                lambda columns: _text_blocks(stream, file, delimiter, form, {c: real[c] for c in columns}),
            )
    except (pa.ArrowException, OSError, EOFError, UnicodeError) as error:
        said = " ".join(str(error).split())[:300]
        advice = next((f"; {text}" for word, text in _ADVICE.items() if word in said), "")
        if isinstance(error, UnicodeError):
            advice = "; pass the --encoding that the text is written in"
        raise DataFolderError(path, None, f"cannot be read ({said}){advice}") from error


@contextmanager
def _stream(path: Path) -> Iterator[tuple[BinaryIO, Any]]:
    """Yield the file, which knows how much of it is read, and its unpacked content."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        codec = next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)
        with pa.PythonFile(file, "r") as raw:
            yield file, raw if codec is None else pa.CompressedInputStream(raw, codec)


def _start(path: Path, form: TableForm) -> bytes:
    """The first bytes of the unpacked content; refuses what is certainly no text in the stated encoding."""
    with _stream(path) as (_, stream):
        start = bytes(stream.read(64))
    if not start:
        raise DataFolderError(path, None, "the file is empty")
    for magic, problem in _FOREIGN.items():
        if start.startswith(magic):
            raise DataFolderError(path, None, problem)
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    if start.startswith(marks) and codecs.lookup(form.encoding).name == "utf-8":
        raise DataFolderError(path, None, "is UTF-16 text; pass --encoding utf-16")
    return start


def _refuse_one_column(path: Path, names: tuple[str, ...], delimiter: str) -> None:
    likely = next((sign for sign in _LIKELY_DELIMITERS if sign != delimiter and sign in names[0]), None)
    if len(names) == 1 and likely is not None:
        raise DataFolderError(
            path,
            None,
            f"has one column, {names[0][:80]!r}, when cut at {delimiter!r}; pass --delimiter {likely!r}",
        )


def _parquet_blocks(parts: ParquetParts, columns: Sequence[str]) -> Iterator[Block]:
    first = 1
    for batch in parts.iter_batches(BATCH_ROWS, list(columns)):
        yield Block(batch, np.arange(first, first + batch.num_rows), [], batch.num_rows)
        first += batch.num_rows


def _reader(
    stream: Any,
    delimiter: str,
    form: TableForm,
    columns: Sequence[str] | None,
    malformed: list[QuarantinedRow],
) -> Any:
    def set_aside(row: Any) -> str:
        malformed.append(QuarantinedRow(row.number or 0, Reason.WRONG_COLUMN_COUNT, None, row.text))
        return "skip"

    return pa.csv.open_csv(
        stream,
        read_options=pa.csv.ReadOptions(
            use_threads=False,
            block_size=BLOCK_BYTES,
            encoding=form.encoding,
            column_names=list(form.columns) or None,
        ),
        parse_options=pa.csv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if delimiter != "\t" else False,
            newlines_in_values=delimiter != "\t",
            invalid_row_handler=set_aside,
        ),
        # As bytes: what a value is the checks say, row by row, not the first block for the whole file.
        convert_options=pa.csv.ConvertOptions(
            default_column_type=pa.binary(),
            strings_can_be_null=True,
            null_values=[""],
            include_columns=columns,
        ),
    )


def _text_blocks(
    stream: Any, file: BinaryIO, delimiter: str, form: TableForm, columns: dict[str, str]
) -> Iterator[Block]:
    malformed: list[QuarantinedRow] = []
    reader = _reader(stream, delimiter, form, list(columns.values()), malformed)
    schema = pa.schema([(name, pa.binary()) for name in columns])
    next_number, read = (1 if form.columns else 2), 0
    for batch in reader:
        # The reader is ahead: what is malformed may belong to a later block.
        numbers = _numbers(next_number, batch.num_rows, [row.line for row in malformed])
        next_number = int(numbers[-1]) + 1 if len(numbers) else next_number
        ended = [row for row in malformed if row.line < next_number]
        malformed[: len(ended)] = []
        position = file.tell()
        yield Block(pa.RecordBatch.from_arrays(batch.columns, schema=schema), numbers, ended, position - read)
        read = position
    yield Block(_no_rows(schema), _numbers(0, 0, []), malformed, 0)


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], kind) for kind in schema.types], schema=schema)


def _numbers(first: int, count: int, skipped: Sequence[int]) -> NDArray[np.int64]:
    """Shape (count,): numbers from ``first`` without those that are ``skipped``."""
    numbers = np.arange(first, first + count + len(skipped))
    return numbers[~np.isin(numbers, skipped)][:count]
