"""Rows that cannot be used: counted by reason and kept beside the data, never dropped silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

QUARANTINE_FILE: Final = "quarantine.parquet"

MAX_RAW_CHARACTERS: Final = 4_096
"""A quarantined row is kept up to this length: enough to find and to mend it, not enough to fill a disk."""

_FLUSH_ROWS: Final = 50_000

SCHEMA: Final = pa.schema(
    [
        ("source_file", pa.string()),
        ("line", pa.int64()),
        ("reason", pa.string()),
        ("field", pa.string()),
        ("raw", pa.string()),
    ]
)
"""``line`` counts from 1: the line of a text file, its header included, or the row of a Parquet file; for
a table of anybody's, the row of the file, its header included and blank lines not.
``field`` is null where the whole row is at fault."""


class Reason(StrEnum):
    """Why a row is in quarantine. A row that is wrong in several ways carries the first in this order."""

    LINE_TOO_LONG = "line_too_long"
    INVALID_UTF8 = "invalid_utf8"
    MALFORMED_QUOTES = "malformed_quotes"
    WRONG_COLUMN_COUNT = "wrong_column_count"
    MISSING_FIELD = "missing_field"
    ID_TOO_LONG = "id_too_long"
    CONTROL_CHARACTER = "control_character"
    TEXT_TOO_LONG = "text_too_long"
    NOT_A_NUMBER = "not_a_number"
    NOT_FINITE = "not_finite"
    NOT_A_TIME = "not_a_time"
    OUT_OF_RANGE = "out_of_range"
    NEGATIVE_TIMESTAMP = "negative_timestamp"
    FUTURE_TIMESTAMP = "future_timestamp"
    UNKNOWN_EVENT = "unknown_event"
    UNKNOWN_ITEM = "unknown_item"
    DUPLICATE_ID = "duplicate_id"
    DUPLICATE_ROW = "duplicate_row"


_REASONS: Final = tuple(Reason)


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """One row that was not imported."""

    line: int
    reason: Reason
    field: str | None
    raw: str


class Triage:
    """Collects, for one chunk of rows, the first reason that speaks against each row."""

    def __init__(self, row_count: int) -> None:
        self._reasons: NDArray[np.int8] = np.full(row_count, -1, dtype=np.int8)
        self._fields: NDArray[np.int8] = np.full(row_count, -1, dtype=np.int8)
        self._field_names: list[str] = []
        self._repairs: list[Triage] = []

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """Shape (rows,): nothing speaks against the row so far."""
        return self._reasons < 0

    @property
    def rejected_rows(self) -> NDArray[np.int64]:
        """Positions of the rejected rows, ascending."""
        return np.flatnonzero(self._reasons >= 0).astype(np.int64)

    def reject(self, mask: NDArray[np.bool_], reason: Reason, field: str | None = None) -> None:
        """Reject the rows of ``mask`` that no earlier check has rejected."""
        fresh = mask & self.accepted
        if not fresh.any():
            return
        self._reasons[fresh] = _REASONS.index(reason)
        if field is not None:
            if field not in self._field_names:
                self._field_names.append(field)
            self._fields[fresh] = self._field_names.index(field)

    def reject_by_value(self, faults: Triage, codes: NDArray[np.int64], field: str) -> None:
        """Reject every row with a value that ``faults`` speaks against.

        Args:
            faults: Of the distinct values.
            codes: Shape (rows,): the position of each row's value in ``faults``.
            field: Where the values stand.
        """
        if faults.accepted.all():
            return
        reasons = faults._reasons[codes]
        for code in np.unique(reasons[reasons >= 0]).tolist():
            self.reject(reasons == code, _REASONS[code], field)

    def repair(self, faults: Triage) -> None:
        """Note that the attributes that ``faults`` speaks against were mended, and their rows stay."""
        self._repairs.append(faults)

    def repaired(self) -> Counter[tuple[str, str]]:
        """How many accepted rows had an attribute mended, by attribute and reason."""
        counts: Counter[tuple[str, str]] = Counter()
        for faults in self._repairs:
            for row in np.flatnonzero(self.accepted & ~faults.accepted).tolist():
                counts[faults._field_names[faults._fields[row]], faults.reason(row).value] += 1
        return counts

    def reason(self, row: int) -> Reason:
        """What speaks against the rejected ``row``."""
        return _REASONS[int(self._reasons[row])]

    def quarantined(self, line: Callable[[int], int], raw: Callable[[int], str]) -> list[QuarantinedRow]:
        """The rejected rows, given each one's line and raw text by its position."""
        rows: list[QuarantinedRow] = []
        for row in self.rejected_rows.tolist():
            field = self._field_names[self._fields[row]] if self._fields[row] >= 0 else None
            rows.append(QuarantinedRow(line(row), self.reason(row), field, raw(row)))
        return rows


class Quarantine:
    """Writes quarantined rows to one Parquet file, in batches, and counts them by reason.

    Memory is bounded whatever share of the source is bad. Use as a context manager.
    """

    def __init__(self, folder: Path) -> None:
        self._writer = pq.ParquetWriter(folder / QUARANTINE_FILE, SCHEMA, compression="zstd")
        self._pending: list[dict[str, Any]] = []
        self._counts: dict[str, Counter[str]] = {}

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, source_file: str, rows: Sequence[QuarantinedRow]) -> None:
        """Keep ``rows`` of ``source_file``."""
        counts = self._counts.setdefault(source_file, Counter())
        for row in rows:
            counts[row.reason.value] += 1
            self._pending.append(
                {
                    "source_file": source_file,
                    "line": row.line,
                    "reason": row.reason.value,
                    "field": row.field,
                    # A lone surrogate, which invalid UTF-8 was decoded to, cannot be written as it is.
                    "raw": row.raw[:MAX_RAW_CHARACTERS].encode("utf-8", "backslashreplace").decode(),
                }
            )
            if len(self._pending) >= _FLUSH_ROWS:
                self._flush()

    def counts(self, source_file: str) -> Mapping[str, int]:
        """Quarantined rows of one source file by reason, sorted by reason."""
        return dict(sorted(self._counts.get(source_file, Counter()).items()))

    def _flush(self) -> None:
        if self._pending:
            self._writer.write_table(pa.Table.from_pylist(self._pending, schema=SCHEMA))
            self._pending.clear()
