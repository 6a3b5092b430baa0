"""Reading the items of a file that a person made: JSON lines or CSV. Every problem is named."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TextIO

from streamrec.contracts.canonical_json import parse_json
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.items import Item
from streamrec.items.item_log import MAXIMUM_BATCH

JSON_LINES_SUFFIXES: Final = (".jsonl", ".ndjson")
CSV_SUFFIX: Final = ".csv"
TOPIC_SEPARATOR: Final = "|"
"""Between the topics of a CSV file."""

_FIELDS: Final = tuple(field.name for field in fields(Item))
_MAXIMUM_LINE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that is no item.

    Attributes:
        line: Where it begins, from 1.
        field: Which field is wrong.
        problem: What is wrong with it.
    """

    line: int
    field: str
    problem: str


@dataclass(frozen=True, slots=True)
class ReadItems:
    """What a file holds.

    Attributes:
        items: In the file's order.
        refused: The rows that are none.
    """

    items: tuple[Item, ...]
    refused: tuple[RefusedRow, ...]


def read_items(path: Path) -> ReadItems:
    """Read a file of items, JSON lines or CSV by its suffix.

    A line of JSON is an object with the fields of `Item`. The first row of a CSV file names its columns, by
    the same names; a cell that is empty is unknown, and topics stand in one cell with `TOPIC_SEPARATOR`
    between them. Blank lines are nothing.

    Raises:
        InvalidInputError: The file cannot be read, has another suffix, a column that no item has, no column
            ``item_id``, or more rows than one append takes.
    """
    if path.suffix not in (*JSON_LINES_SUFFIXES, CSV_SUFFIX):
        raise InvalidInputError(
            str(path), f"must end in {', '.join(JSON_LINES_SUFFIXES)} or {CSV_SUFFIX} to say how it is read"
        )
    items: list[Item] = []
    refused: list[RefusedRow] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, document in _csv_rows(file) if path.suffix == CSV_SUFFIX else _json_lines(file):
                if len(items) + len(refused) >= MAXIMUM_BATCH:
                    raise InvalidInputError(
                        str(path), f"holds more than {MAXIMUM_BATCH:,} items; put them in several files"
                    )
                try:
                    items.append(Item.from_json(_object(document)))
                except InvalidInputError as error:
                    refused.append(RefusedRow(line, error.field, error.problem))
    except OSError as error:
        raise InvalidInputError(str(path), f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(str(path), f"is not UTF-8: byte {error.start} cannot be decoded") from error
    except csv.Error as error:
        raise InvalidInputError(str(path), f"is not CSV: {error}") from error
    return ReadItems(tuple(items), tuple(refused))


def _object(document: dict[str, Any] | bytes) -> dict[str, Any]:
    if isinstance(document, bytes):
        return parse_json(document, maximum_bytes=_MAXIMUM_LINE_BYTES)
    return document


def _json_lines(file: TextIO) -> Iterator[tuple[int, dict[str, Any] | bytes]]:
    for line, text in enumerate(file, start=1):
        if text.strip():
            yield line, text.encode()


def _csv_rows(file: TextIO) -> Iterator[tuple[int, dict[str, Any] | bytes]]:
    rows = csv.reader(file, strict=True)
    columns = next(rows, [])
    if "item_id" not in columns:
        raise InvalidInputError("item_id", "is the name of no column; the first row must name the columns")
    unknown = [column for column in columns if column not in _FIELDS]
    if unknown or len(set(columns)) < len(columns):
        named = ", ".join(map(repr, unknown)) or "a repeated name"
        raise InvalidInputError(named, f"is no column of an item; there are {', '.join(_FIELDS)}")
    for row in rows:
        line = rows.line_num
        if not row:
            continue
        if len(row) != len(columns):
            yield line, {"item_id": "", f"{len(row)} cells where the first row names {len(columns)}": ""}
            continue
        document: dict[str, Any] = {
            column: cell for column, cell in zip(columns, row, strict=True) if cell.strip()
        }
        if "topics" in document:
            topics = (topic.strip() for topic in document["topics"].split(TOPIC_SEPARATOR))
            document["topics"] = [topic for topic in topics if topic]
        yield line, document
