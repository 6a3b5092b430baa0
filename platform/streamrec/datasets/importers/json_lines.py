"""JSON lines as blocks of rows. pyarrow parses a block; one that it refuses is parsed line by line.

A column may hold numbers in one block and text in the next: what a value is the checks say, row by row.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from streamrec.datasets.importers.columns import Block
from streamrec.datasets.quarantine import QuarantinedRow, Reason

_EXACT: Final = float(2**53)
"""Whole numbers beyond it, which ids may be, are not told apart as floating-point numbers."""

_Line = tuple[int, bytes]


def json_blocks(
    stream: Any, tell: Callable[[], int], encoding: str, block_bytes: int
) -> tuple[tuple[str, ...], Callable[[Sequence[str]], Iterator[Block]]]:
    """The names in the first block, and what reads all blocks, those of the named columns alone.

    Args:
        stream: The unpacked content.
        tell: How much of the file is read, in bytes.
        encoding: Of the text.
        block_bytes: Of text that is read at once; a line that is longer is set aside.
    """
    blocks = _line_blocks(stream, encoding, block_bytes)
    first = next(blocks, [])
    columns, *_ = _parsed(first)

    def read(names: Sequence[str]) -> Iterator[Block]:
        done, lines = 0, first
        while lines:
            rows, numbers, malformed = _parsed(lines)
            arrays = [
                rows.column(name) if name in rows.schema.names else pa.nulls(rows.num_rows) for name in names
            ]
            position = tell()
            chosen = pa.RecordBatch.from_arrays(arrays, names=list(names))
            yield Block(chosen, np.array(numbers, np.int64), malformed, position - done)
            done, lines = position, next(blocks, [])

    return tuple(columns.schema.names), read


def _line_blocks(stream: Any, encoding: str, block_bytes: int) -> Iterator[list[_Line]]:
    """Lines that are not blank, with their numbers; at most one byte of a line more than a block is kept."""
    utf8 = codecs.lookup(encoding).name == "utf-8"
    decoder = codecs.getincrementaldecoder(encoding)()
    rest, number = b"", 1
    while True:
        content = bytes(stream.read(block_bytes))
        last = not content
        if not utf8:
            content = decoder.decode(content, last).encode()
        if number == 1 and not rest:
            content = content.removeprefix(codecs.BOM_UTF8)
        lines = (rest + content).split(b"\n")
        rest = b"" if last else lines.pop()[: block_bytes + 1]
        numbered = [(number + place, line) for place, line in enumerate(lines) if line.strip()]
        number += len(lines)
        if numbered:
            yield numbered
        if last:
            return


def _parsed(lines: list[_Line]) -> tuple[pa.RecordBatch, list[int], list[QuarantinedRow]]:
    block = b"\n".join(line for _, line in lines)
    try:
        rows = _parsed_by_arrow(block)
    except (pa.ArrowException, UnicodeDecodeError):
        rows = None
    # Fewer rows than lines: two objects in one line, or one object in two.
    if rows is None or rows.num_rows != len(lines) or any(map(_is_inexact, rows.columns)):
        return _parsed_by_line(lines)
    return rows, [number for number, _ in lines], []


def _parsed_by_arrow(block: bytes) -> pa.RecordBatch:
    def read(schema: pa.Schema | None) -> pa.Table:
        return pa.json.read_json(
            pa.BufferReader(block),
            read_options=pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pa.json.ParseOptions(explicit_schema=schema),
        )

    table = read(None)
    # Text that looks like a time is still text: "2012-01-01" may be an id.
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    if times:
        table = read(pa.schema([(name, pa.string()) for name in times]))
    return table.combine_chunks().to_batches()[0]


def _is_inexact(column: pa.Array) -> bool:
    if not pa.types.is_floating(column.type):
        return False
    return bool(pc.any(pc.greater_equal(pc.abs(column), _EXACT)).as_py())


def _parsed_by_line(lines: list[_Line]) -> tuple[pa.RecordBatch, list[int], list[QuarantinedRow]]:
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    malformed: list[QuarantinedRow] = []
    for number, line in lines:
        try:
            row = json.loads(line.decode(), parse_float=str, parse_int=str, parse_constant=str)
            reason = None if isinstance(row, dict) else Reason.WRONG_COLUMN_COUNT
        except UnicodeDecodeError:
            reason = Reason.INVALID_UTF8
        except (ValueError, RecursionError):
            reason = Reason.WRONG_COLUMN_COUNT
        if reason is not None:
            malformed.append(QuarantinedRow(number, reason, None, line.decode("utf-8", "backslashreplace")))
            continue
        rows.append(row)
        numbers.append(number)
    names = list(dict.fromkeys(name for row in rows for name in row))
    arrays = [_column([row.get(name) for row in rows]) for name in names]
    if not names:
        return pa.RecordBatch.from_pylist([{}] * 0, pa.schema([])), [], malformed
    return pa.RecordBatch.from_arrays(arrays, names=names), numbers, malformed


def _column(values: list[Any]) -> pa.Array:
    """Text, or lists of text where one value is a list."""
    if any(isinstance(value, list) for value in values):
        lists = [value if isinstance(value, list) or value is None else [value] for value in values]
        texts = [None if one is None else [_text(part) for part in one] for one in lists]
        return pa.array(texts, pa.list_(pa.binary()))
    return pa.array([_text(value) for value in values], pa.binary())


def _text(value: Any) -> bytes | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")
