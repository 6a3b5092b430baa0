"""Reading a CSV file of predictions, or of requests for an endpoint, in chunks."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from streamrec.contracts.canonical_json import one_line
from streamrec.contracts.errors import InvalidInputError
from streamrec.gates.fairness.audited_rows import AuditedChunk

_BLOCK_BYTES: Final = 8 * 1024 * 1024
_MAXIMUM_HEADER_BYTES: Final = 1024 * 1024
_LABELS: Final = {"0": 0.0, "0.0": 0.0, "false": 0.0, "1": 1.0, "1.0": 1.0, "true": 1.0}
_SHOWN: Final = 60
_COLUMN_NUMBER: Final = re.compile(r"In CSV column #(\d+)")


def header_of(path: Path) -> list[str]:
    """Names of the columns.

    Raises:
        InvalidInputError: The file cannot be read, is empty, or names a column twice.
    """
    try:
        with path.open("rb") as file:
            first = file.readline(_MAXIMUM_HEADER_BYTES)
    except OSError as error:
        raise InvalidInputError(str(path), f"cannot be read ({error.strerror})") from error
    try:
        names = next(csv.reader([first.decode("utf-8-sig")]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(
            str(path), "is no CSV file in UTF-8: its first line cannot be read"
        ) from error
    if not any(names) or not first.endswith((b"\n", b"\r")):
        raise InvalidInputError(str(path), "holds no rows: a line with names of columns, then one line a row")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidInputError(
            str(path), f"names the column {twice!r} {names.count(twice)} times: nobody knows which one counts"
        )
    return names


def require_columns(path: Path, names: Sequence[str], wanted: Mapping[str, str]) -> None:
    """Refuse a file that lacks a column.

    Args:
        path: The file.
        names: What it has.
        wanted: Option that asked for it, by name of the column.

    Raises:
        InvalidInputError: One is missing; says which there are.
    """
    for name, option in wanted.items():
        if name not in names:
            close = get_close_matches(name, names, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            there = one_line(", ".join(names))[:400]
            raise InvalidInputError(option, f"{path} has no column {name!r}{meant} (it has: {there})")


def chunks_of(
    path: Path, columns: Sequence[str], *, numbers: Sequence[str] = ()
) -> Iterator[tuple[int, pa.Table]]:
    """Yield the number of the first row, from 1, and some rows, with bounded memory.

    Args:
        path: The file.
        columns: Those that are read.
        numbers: Those of them that must hold numbers; all others are text.

    Raises:
        InvalidInputError: A row cannot be read.
    """
    types = {name: pa.float64() if name in numbers else pa.string() for name in columns}
    try:
        reader = pacsv.open_csv(
            path,
            read_options=pacsv.ReadOptions(block_size=_BLOCK_BYTES, encoding="utf8"),
            parse_options=pacsv.ParseOptions(newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                include_columns=list(columns), column_types=types, strings_can_be_null=False
            ),
        )
        row = 1
        with reader:
            for batch in reader:
                yield row, pa.Table.from_batches([batch])
                row += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise InvalidInputError(str(path), _problem(path, error)) from error


def _problem(path: Path, error: Exception) -> str:
    """What Arrow says, with the name of the column where it gives its number alone."""
    told = one_line(" ".join(str(error).split()))[:400]
    numbered = _COLUMN_NUMBER.search(told)
    if numbered is None:
        return f"cannot be read: {told}"
    names = header_of(path)
    place = int(numbered[1])
    name = names[place] if place < len(names) else numbered[1]
    return f"column {name!r} must hold numbers: {told[numbered.end() :].lstrip(': ')}"


def audited_chunks(path: Path, *, label: str, score: str, groups: Sequence[str]) -> Iterator[AuditedChunk]:
    """Yield the rows of a file of predictions.

    Args:
        path: The file.
        label: Column that holds 0 or 1 (or ``true`` and ``false``).
        score: Column that holds numbers.
        groups: Columns of groups.

    Raises:
        InvalidInputError: A column is missing or named twice, or a row holds what it must not; names both.
    """
    names = header_of(path)
    wanted = {label: "--label", score: "--score", **dict.fromkeys(groups, "--groups")}
    if label == score or label in groups or score in groups:
        raise InvalidInputError("--label", "label, score and groups must be different columns")
    require_columns(path, names, wanted)
    for row, table in chunks_of(path, list(wanted), numbers=(score,)):
        yield AuditedChunk(
            first_row=row,
            labels=labels_of(table[label], label, row),
            scores=_scores(table[score], score, row),
            groups={name: table[name] for name in groups},
        )


def labels_of(column: pa.ChunkedArray, name: str, first_row: int) -> NDArray[np.float64]:
    """0 or 1 of every row.

    Raises:
        InvalidInputError: A row holds something else.
    """
    encoded = pc.dictionary_encode(column).combine_chunks()
    texts = [str(text) for text in encoded.dictionary.to_pylist()]
    values = np.array([_LABELS.get(text.strip().lower(), np.nan) for text in texts], dtype=np.float64)
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    labels: NDArray[np.float64] = values[codes] if len(values) else np.zeros(0)
    wrong = np.flatnonzero(np.isnan(labels))
    if len(wrong):
        found = texts[codes[wrong[0]]][:_SHOWN]
        raise InvalidInputError(
            "--label",
            f"column {name!r} must hold 0 or 1; row {first_row + wrong[0]} holds {found!r}: a label of more "
            "than two values is audited one value against the others",
        )
    return labels


def _scores(column: Any, name: str, first_row: int) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = column.to_numpy()
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise InvalidInputError(
            "--score", f"column {name!r} must hold a finite number; row {first_row + wrong[0]} does not"
        )
    return scores
