"""Records as Arrow tables, for Parquet and for everything that computes on many events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import pyarrow as pa

from streamrec.events.records import Record, RecordKind, from_document, kind_of, to_document

_MOMENT: Final = pa.timestamp("us", tz="UTC")

SCHEMAS: Final[Mapping[RecordKind, pa.Schema]] = MappingProxyType(
    {
        RecordKind.IMPRESSION: pa.schema(
            [
                pa.field("request_id", pa.string(), nullable=False),
                pa.field("user_id", pa.string(), nullable=False),
                pa.field("served_at", _MOMENT, nullable=False),
                pa.field("item_ids", pa.list_(pa.string()), nullable=False),
                pa.field("scores", pa.list_(pa.float64()), nullable=False),
                pa.field("propensities", pa.list_(pa.float64()), nullable=False),
                pa.field("model_versions", pa.map_(pa.string(), pa.int64()), nullable=False),
                pa.field("rung", pa.string(), nullable=False),
                pa.field("cold_start", pa.bool_(), nullable=False),
                pa.field("latency_ms", pa.float64(), nullable=False),
                pa.field("variants", pa.map_(pa.string(), pa.string()), nullable=False),
            ]
        ),
        RecordKind.OUTCOME: pa.schema(
            [
                pa.field("event_id", pa.string(), nullable=False),
                pa.field("user_id", pa.string(), nullable=False),
                pa.field("item_id", pa.string(), nullable=False),
                pa.field("kind", pa.string(), nullable=False),
                pa.field("occurred_at", _MOMENT, nullable=False),
                pa.field("received_at", _MOMENT, nullable=False),
                pa.field("request_id", pa.string()),
                pa.field("value", pa.float64()),
            ]
        ),
        RecordKind.QUARANTINED: pa.schema(
            [
                pa.field("event_id", pa.string()),
                pa.field("reason", pa.string(), nullable=False),
                pa.field("received_at", _MOMENT, nullable=False),
                pa.field("payload", pa.string(), nullable=False),
            ]
        ),
    }
)
"""Columns by kind; the names are those of the dataclasses' fields."""

_MOMENTS: Final = ("served_at", "occurred_at", "received_at")
_MAPPINGS: Final = ("model_versions", "variants")


def to_table(kind: RecordKind, records: Sequence[Record]) -> pa.Table:
    """Return records of one kind as a table.

    Raises:
        ValueError: A record is of another kind.
    """
    rows: list[dict[str, Any]] = []
    for record in records:
        if kind_of(record) is not kind:
            raise ValueError(f"a record of kind {kind_of(record)} among those of kind {kind}")
        row = to_document(record)
        del row["record"]
        for name in _MOMENTS:
            if name in row:
                row[name] = datetime.fromisoformat(row[name])
        for name in _MAPPINGS:
            if name in row:
                row[name] = list(row[name].items())
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=SCHEMAS[kind])


def from_table(kind: RecordKind, table: pa.Table) -> list[Record]:
    """Return the records of a table, checked as strictly as lines are.

    Raises:
        InvalidInputError: A row is not a record; names the field.
    """
    records: list[Record] = []
    for row in table.select(SCHEMAS[kind].names).to_pylist():
        for name in _MOMENTS:
            if row.get(name) is not None:
                row[name] = row[name].isoformat()
        for name in _MAPPINGS:
            if name in row:
                row[name] = dict(row[name])
        records.append(from_document({"record": kind.value, **row}))
    return records
