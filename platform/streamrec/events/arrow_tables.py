"""Records as Arrow tables, for Parquet and for everything that computes on many events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

import pyarrow as pa
from pydantic_core import from_json as from_json_text

from streamrec.contracts.errors import InvalidInputError
from streamrec.events.records import Record, RecordKind, from_document, from_json, kind_of, to_document

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENT: Final = pa.timestamp("us", tz="UTC")
_SCORED_ITEMS: Final = pa.struct(
    [pa.field("item_ids", pa.list_(pa.string())), pa.field("scores", pa.list_(pa.float64()))]
)
_PROPENSITY: Final = pa.struct(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("values", pa.list_(pa.float64())),
        pa.field("draws", pa.int64()),
    ]
)
_TEXTS: Final = pa.map_(pa.string(), pa.string())

_ANSWER: Final = (
    pa.field("schema", pa.string(), nullable=False),
    pa.field("request_id", pa.string(), nullable=False),
    pa.field("unit", pa.string(), nullable=False),
    pa.field("slot", pa.string(), nullable=False),
    pa.field("role", pa.string(), nullable=False),
    pa.field("version", pa.string()),
    pa.field("predicted_at", _MOMENT, nullable=False),
    pa.field("client_request_id", pa.string()),
    pa.field("traffic_revision", pa.int64()),
    pa.field("features", pa.string()),
    pa.field("candidates", _SCORED_ITEMS),
    pa.field("extension", pa.string()),
)

SCHEMAS: Final[Mapping[RecordKind, pa.Schema]] = MappingProxyType(
    {
        RecordKind.PREDICTION: pa.schema([*_ANSWER, pa.field("output", pa.string(), nullable=False)]),
        RecordKind.IMPRESSION: pa.schema(
            [
                *_ANSWER,
                pa.field("item_ids", pa.list_(pa.string()), nullable=False),
                pa.field("scores", pa.list_(pa.float64()), nullable=False),
                pa.field("versions", _TEXTS, nullable=False),
                pa.field("propensity", _PROPENSITY, nullable=False),
                pa.field("seed", pa.string()),
                pa.field("state_digest", pa.string()),
                pa.field("price_revision", pa.int64()),
                pa.field("variants", _TEXTS, nullable=False),
            ]
        ),
        RecordKind.EXPOSURE: pa.schema(
            [
                pa.field("schema", pa.string(), nullable=False),
                pa.field("unit", pa.string(), nullable=False),
                pa.field("experiment", pa.string(), nullable=False),
                pa.field("variant", pa.string(), nullable=False),
                pa.field("at", _MOMENT, nullable=False),
            ]
        ),
        RecordKind.OUTCOME: pa.schema(
            [
                pa.field("schema", pa.string(), nullable=False),
                pa.field("event_id", pa.string(), nullable=False),
                pa.field("unit", pa.string(), nullable=False),
                pa.field("item_id", pa.string()),
                pa.field("kind", pa.string(), nullable=False),
                pa.field("occurred_at", _MOMENT, nullable=False),
                pa.field("received_at", _MOMENT, nullable=False),
                pa.field("request_id", pa.string()),
                pa.field("value", pa.float64()),
                pa.field("currency", pa.string()),
            ]
        ),
        RecordKind.LABEL: pa.schema(
            [
                pa.field("schema", pa.string(), nullable=False),
                pa.field("subject", pa.string(), nullable=False),
                pa.field("name", pa.string(), nullable=False),
                pa.field("value", pa.string(), nullable=False),
                pa.field("at", _MOMENT, nullable=False),
                pa.field("received_at", _MOMENT, nullable=False),
            ]
        ),
        RecordKind.QUARANTINED: pa.schema(
            [
                pa.field("schema", pa.string(), nullable=False),
                pa.field("event_id", pa.string()),
                pa.field("reason", pa.string(), nullable=False),
                pa.field("received_at", _MOMENT, nullable=False),
                pa.field("payload", pa.string(), nullable=False),
                pa.field("unit", pa.string()),
            ]
        ),
    }
)
"""Columns by kind; the names are those of the dataclasses' fields."""

_MAPPINGS: Final = ("versions", "variants", "model_versions")
"""Columns that are mappings in a document and lists of pairs in Arrow. The last is one of version 1."""

_JSON_TEXTS: Final[Mapping[RecordKind, Sequence[str]]] = {
    RecordKind.PREDICTION: ("features", "extension", "output"),
    RecordKind.IMPRESSION: ("features", "extension"),
    RecordKind.LABEL: ("value",),
}
"""Columns that hold JSON, because what it may be differs from row to row."""


MOMENT_COLUMNS: Final[Mapping[RecordKind, str]] = MappingProxyType(
    {
        RecordKind.PREDICTION: "predicted_at",
        RecordKind.IMPRESSION: "predicted_at",
        RecordKind.EXPOSURE: "at",
        RecordKind.OUTCOME: "received_at",
        RecordKind.LABEL: "received_at",
        RecordKind.QUARANTINED: "received_at",
    }
)
"""Where `streamrec.events.records.moment_of` stands: the platform's own time of a record."""


def column_names(kind: RecordKind, columns: Sequence[str] | None) -> list[str]:
    """The columns that are asked for; all of the kind's where None.

    Raises:
        InvalidInputError: One is no column of the kind.
    """
    known = SCHEMAS[kind].names
    names = list(columns if columns is not None else known)
    for name in names:
        if name not in known:
            raise InvalidInputError("columns", f"{name!r} is no column of the kind {kind.value}")
    return names


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
        for name in _MAPPINGS:
            if name in row:
                row[name] = list(row[name].items())
        for name in _JSON_TEXTS.get(kind, ()):
            if row[name] is not None:
                row[name] = json.dumps(row[name], separators=(",", ":"), allow_nan=False)
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=SCHEMAS[kind])


def in_todays_form(kind: RecordKind, table: pa.Table, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the columns of a table that may have been written by an earlier release.

    Args:
        kind: Of its records.
        table: All of its columns, or at least those of ``columns`` that it has.
        columns: Which are wanted, in any order; None for all of the kind's.

    Raises:
        InvalidInputError: A column has another type than today's; names it.
        KeyError: A column is missing.
    """
    if is_version_1(table.column_names):
        table = to_table(kind, [_from_version_1(kind, row) for row in table.to_pylist()])
    schema = SCHEMAS[kind]
    wanted = [schema.field(name) for name in (schema.names if columns is None else columns)]
    for field in wanted:
        if field.name not in table.column_names and field.nullable:
            # It was not there yet when the file was written.
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
        elif (found := table.schema.field(field.name).type) != field.type:
            raise InvalidInputError(field.name, f"is a column of {found}; it must be one of {field.type}")
    return pa.Table.from_arrays([table.column(field.name) for field in wanted], schema=pa.schema(wanted))


def is_version_1(column_names: Sequence[str]) -> bool:
    """Whether a table with these columns was written before records named their schema."""
    return "schema" not in column_names


def from_table(kind: RecordKind, table: pa.Table) -> list[Record]:
    """Return the records of a table, of an earlier release too, checked as strictly as lines are.

    Raises:
        InvalidInputError: A row is not a record, or a column has another type; names the field.
        KeyError: A column is missing.
    """
    table = in_todays_form(kind, table)
    records: list[Record] = []
    json_texts = _JSON_TEXTS.get(kind, ())
    moments = [field.name for field in SCHEMAS[kind] if field.type == _MOMENT]
    # As numbers, because Arrow takes longer to make a time with a zone than all the rest of a row.
    for row in _with_microseconds(table, moments).to_pylist():
        for name in moments:
            if row[name] is not None:
                row[name] = _EPOCH + timedelta(microseconds=row[name])
        for name in json_texts:
            if row[name] is not None:
                row[name] = _parsed(name, row[name])
        records.append(from_document(_with_mappings(kind, row)))
    return records


def _with_microseconds(table: pa.Table, moments: Sequence[str]) -> pa.Table:
    for name in moments:
        position = table.column_names.index(name)
        table = table.set_column(position, name, table.column(name).cast(pa.int64()))
    return table


def _parsed(name: str, text: str) -> Any:
    try:
        return from_json_text(text)
    except ValueError as error:
        raise InvalidInputError(name, "is not JSON") from error


def _from_version_1(kind: RecordKind, row: dict[str, Any]) -> Record:
    document = {"record": kind.value, **_with_mappings(kind, row)}
    return from_json(json.dumps(document, default=datetime.isoformat))


def _with_mappings(kind: RecordKind, row: dict[str, Any]) -> dict[str, Any]:
    if kind is RecordKind.IMPRESSION:
        for name in _MAPPINGS:
            if name in row:
                row[name] = dict(row[name])
    return row
