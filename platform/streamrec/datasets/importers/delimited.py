"""Reading delimited text in chunks, with the line number and the raw text of every row that is wrong.

One physical line is one row: a quote that is never closed spoils its own row and not the rest of the file.
A blank line is nothing.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from streamrec.contracts.errors import DataFolderError
from streamrec.datasets.importers.checks import Objects, as_objects
from streamrec.datasets.quarantine import MAX_RAW_CHARACTERS, QuarantinedRow, Reason

CHUNK_BYTES: Final = 8 * 2**20
MAX_LINE_BYTES: Final = 2**20

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class DelimitedFormat:
    """How a file is written.

    Attributes:
        delimiter: Between fields.
        quoted: Whether a field may be quoted as in RFC 4180.
        encoding: Of the text.
        columns: Names of the columns of a file without a header; None where the first line names them.
    """

    delimiter: str = ","
    quoted: bool = True
    encoding: str = "utf-8"
    columns: tuple[str, ...] | None = None


CSV: Final = DelimitedFormat()


@dataclass(frozen=True)
class Chunk:
    """Some lines of a file.

    Attributes:
        columns: The wanted columns, each of shape (rows,).
        lines: Line number of each row.
        raw: Raw text of each row.
        rejected: Lines that could not be cut into columns.
        bytes_read: Bytes of the file that the chunk covers.
    """

    columns: dict[str, Objects]
    lines: list[int]
    raw: list[str]
    rejected: list[QuarantinedRow]
    bytes_read: int

    @property
    def rows_read(self) -> int:
        """Rows of the file in this chunk, good or bad."""
        return len(self.lines) + len(self.rejected)


def read_delimited(
    path: Path, wanted: tuple[str, ...], form: DelimitedFormat = CSV, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[Chunk]:
    """Yield the rows of ``path`` in order, the ``wanted`` columns of each.

    Memory is bounded by ``chunk_bytes`` whatever the file holds.

    Raises:
        DataFolderError: The file is missing, unreadable or empty, or its header lacks a wanted column.
    """
    if not path.is_file():
        raise DataFolderError(path, None, "the file does not exist")
    try:
        with path.open("rb") as file:
            yield from _chunks(file, path, wanted, form, chunk_bytes)
    except OSError as error:
        raise DataFolderError(path, None, f"cannot be read ({error})") from error


def is_utf8(path: Path) -> bool:
    """Whether the whole file is UTF-8 text; memory is bounded by `CHUNK_BYTES`.

    Raises:
        DataFolderError: The file is missing or unreadable.
    """
    if not path.is_file():
        raise DataFolderError(path, None, "the file does not exist")
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            while block := file.read(CHUNK_BYTES):
                decoder.decode(block)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    except OSError as error:
        raise DataFolderError(path, None, f"cannot be read ({error})") from error
    return True


def read_header(path: Path, form: DelimitedFormat = CSV) -> tuple[str, ...]:
    """The names of the columns of ``path``.

    Raises:
        DataFolderError: The file is missing, unreadable or empty.
    """
    if form.columns is not None:
        return form.columns
    try:
        with path.open("rb") as file:
            return _header(file.readline(MAX_LINE_BYTES).rstrip(b"\n"), path, form)
    except OSError as error:
        raise DataFolderError(path, None, f"cannot be read ({error})") from error


def _chunks(
    file: BinaryIO, path: Path, wanted: tuple[str, ...], form: DelimitedFormat, chunk_bytes: int
) -> Iterator[Chunk]:
    header = form.columns
    line_number = 1
    cut: Callable[[list[str]], Iterator[list[str] | None]] | None = None
    for lines, bytes_read in _line_blocks(file, chunk_bytes):
        if header is None:
            header = _header(lines.pop(0), path, form)
            line_number += 1
        if cut is None:
            missing = [name for name in wanted if name not in header]
            if missing:
                raise DataFolderError(
                    path, missing[0], f"the column is missing; the first line has {', '.join(header)[:200]}"
                )
            cut = _csv_cutter(form.delimiter) if form.quoted else _plain_cutter(form.delimiter)
        yield _chunk(lines, line_number, bytes_read, header, wanted, form.encoding, cut)
        line_number += len(lines)
    if cut is None:
        raise DataFolderError(path, None, "the file is empty")


def _chunk(
    lines: list[bytes],
    first_line: int,
    bytes_read: int,
    header: tuple[str, ...],
    wanted: tuple[str, ...],
    encoding: str,
    cut: Callable[[list[str]], Iterator[list[str] | None]],
) -> Chunk:
    rejected: list[QuarantinedRow] = []
    texts, numbers = _decode(lines, first_line, encoding, rejected)
    rows: list[list[str]] = []
    kept_lines: list[int] = []
    kept_raw: list[str] = []
    for fields, text, number in zip(cut(texts), texts, numbers, strict=True):
        if not text or text.isspace():
            continue
        if fields is not None and len(fields) == len(header):
            rows.append(fields)
            kept_lines.append(number)
            kept_raw.append(text)
        else:
            reason = Reason.MALFORMED_QUOTES if fields is None else Reason.WRONG_COLUMN_COUNT
            rejected.append(QuarantinedRow(number, reason, None, text))
    rejected.sort(key=lambda row: row.line)
    by_column = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    columns = {name: as_objects(list(by_column[header.index(name)])) for name in wanted}
    return Chunk(columns, kept_lines, kept_raw, rejected, bytes_read)


def _line_blocks(file: BinaryIO, chunk_bytes: int) -> Iterator[tuple[list[bytes], int]]:
    """Whole lines without their ends, and the bytes read for them; an endless line is cut short."""
    rest = b""
    while block := file.read(chunk_bytes):
        lines = (rest + block).split(b"\n")
        # One byte above the limit marks the line as too long; the bytes beyond it are not kept.
        rest = lines.pop()[: MAX_LINE_BYTES + 1]
        if lines:
            yield lines, len(block)
    if rest:
        yield [rest], 0


def _decode(
    lines: list[bytes], first_line: int, encoding: str, rejected: list[QuarantinedRow]
) -> tuple[list[str], list[int]]:
    numbers = range(first_line, first_line + len(lines))
    try:
        texts = [line.decode(encoding).removesuffix("\r") for line in lines]
    except UnicodeDecodeError:
        texts = []
    else:
        if max(map(len, texts), default=0) <= MAX_LINE_BYTES // 4:
            return texts, list(numbers)
        texts = []
    kept: list[int] = []
    for number, line in zip(numbers, lines, strict=True):
        if len(line) > MAX_LINE_BYTES:
            rejected.append(QuarantinedRow(number, Reason.LINE_TOO_LONG, None, _escaped(line)))
            continue
        # A lone surrogate marks what is no UTF-8: it spoils the field that it stands in, not the row.
        texts.append(line.decode(encoding, "surrogateescape").removesuffix("\r"))
        kept.append(number)
    return texts, kept


def _escaped(line: bytes) -> str:
    return line[:MAX_RAW_CHARACTERS].decode("utf-8", errors="backslashreplace")


def _header(line: bytes, path: Path, form: DelimitedFormat) -> tuple[str, ...]:
    try:
        text = line.removeprefix(_BYTE_ORDER_MARK).decode(form.encoding).strip()
    except UnicodeDecodeError as error:
        raise DataFolderError(path, None, "the first line, the header, is not UTF-8 text") from error
    fields = next(_csv_cutter(form.delimiter)([text]))
    if not text or fields is None:
        raise DataFolderError(path, None, "the first line, the header, is empty or not CSV")
    names = tuple(field.strip() for field in fields)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataFolderError(path, repeated[0], "the header names the column twice")
    return names


def _plain_cutter(delimiter: str) -> Callable[[list[str]], Iterator[list[str] | None]]:
    def cut(texts: list[str]) -> Iterator[list[str] | None]:
        return (text.split(delimiter) for text in texts)

    return cut


def _csv_cutter(delimiter: str) -> Callable[[list[str]], Iterator[list[str] | None]]:
    def cut(texts: list[str]) -> Iterator[list[str] | None]:
        for text in texts:
            if '"' not in text:
                yield text.split(delimiter)
                continue
            try:
                # Strict: a quote that is not closed, or text behind a closed one, is an error.
                yield next(csv.reader([text], delimiter=delimiter, strict=True))
            except csv.Error:
                yield None

    return cut
