"""Every event once, on tables: what `streamrec.events.event_log.assemble` does to records. Pure."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamrec.contracts.conventions import MAXIMUM_CLOCK_SKEW
from streamrec.contracts.errors import InvalidInputError
from streamrec.events.arrow_tables import MOMENT_COLUMNS, SCHEMAS, from_table, to_table
from streamrec.events.event_log import EARLIEST_EVENT, EventSnapshot, assemble
from streamrec.events.records import Record, RecordKind
from streamrec.events.time_range import TimeRange, UnitRange

IDENTITIES: Final[Mapping[RecordKind, tuple[str, ...]]] = MappingProxyType(
    {
        RecordKind.PREDICTION: ("unit", "request_id", "slot", "role"),
        RecordKind.IMPRESSION: ("unit", "request_id", "slot"),
        RecordKind.EXPOSURE: ("unit", "experiment", "variant", "at"),
        RecordKind.OUTCOME: ("unit", "event_id"),
        RecordKind.LABEL: ("subject", "name", "value", "at"),
    }
)
"""The columns that tell one event of a kind from another. A quarantined one is told by its content."""

CLIENT_TIMES: Final[Mapping[RecordKind, str]] = MappingProxyType(
    {RecordKind.OUTCOME: "occurred_at", RecordKind.LABEL: "at"}
)
"""Kinds whose time is said by a client, which may be impossible, and who may send an event again."""

REPETITION_HORIZON: Final = timedelta(days=1)
"""How far before its range a reader looks for the first of an event that was sent again.

A repetition that came later than that counts in a range that does not hold the first one, so that reading a
day does not cost the days before it. The whole log holds every event once, whenever it was repeated.
"""

_TELLING: Final = ("request_id", "event_id")
"""Columns that nearly always tell all rows apart, which is found out faster than by the whole identity."""

_ROW: Final = "__row__"


def needed_columns(kind: RecordKind) -> tuple[str, ...]:
    """Return the columns without which neither time nor identity of a row is known."""
    names = [*IDENTITIES[kind], MOMENT_COLUMNS[kind]]
    if kind in CLIENT_TIMES:
        names.append(CLIENT_TIMES[kind])
    return tuple(dict.fromkeys(names))


def restricted(kind: RecordKind, table: pa.Table, window: TimeRange) -> pa.Table:
    """Return the rows whose moment lies in ``window``."""
    moments = table[MOMENT_COLUMNS[kind]]
    extremes = pc.min_max(moments).as_py()
    if not table.num_rows or (extremes["min"] in window and extremes["max"] in window):
        return table  # most parts lie in the window whole, and a copy of all columns is dear
    inside = [
        compare(moments, pa.scalar(end, moments.type))
        for end, compare in ((window.start, pc.greater_equal), (window.end, pc.less))
        if end is not None
    ]
    return table.filter(functools.reduce(pc.and_, inside))


def of_units(kind: RecordKind, table: pa.Table, units: UnitRange) -> pa.Table:
    """Return the rows of a range of units.

    Raises:
        InvalidInputError: Records of the kind may have no unit.
    """
    if units.first is None and units.end is None:
        return table
    if kind not in IDENTITIES:
        raise InvalidInputError("units", f"records of the kind {kind.value} may have no unit")
    column = table["subject" if kind is RecordKind.LABEL else "unit"]
    if units.first is not None:
        mask = pc.greater_equal(column, units.first)
        table, column = table.filter(mask), column.filter(mask)
    return table if units.end is None else table.filter(pc.less(column, units.end))


def with_possible_times(kind: RecordKind, table: pa.Table) -> pa.Table:
    """Return the rows whose client's time may be true: see `event_log.time_problem`."""
    return table.filter(_possible(kind, table)) if kind in CLIENT_TIMES else table


def with_impossible_times(kind: RecordKind, table: pa.Table) -> pa.Table:
    """Return the other rows."""
    return table.filter(pc.invert(_possible(kind, table)))


def _possible(kind: RecordKind, table: pa.Table) -> pa.ChunkedArray:
    said, received = table[CLIENT_TIMES[kind]], table[MOMENT_COLUMNS[kind]]
    ahead = pc.subtract(said, received)
    skew = pa.scalar(MAXIMUM_CLOCK_SKEW, ahead.type)
    return pc.and_(pc.less_equal(ahead, skew), pc.greater_equal(said, pa.scalar(EARLIEST_EVENT, said.type)))


def repeats(kind: RecordKind, table: pa.Table) -> bool:
    """Whether an identity stands in the table more than once."""
    keys = list(IDENTITIES[kind])
    if any(pc.count_distinct(table[name]).as_py() == table.num_rows for name in keys if name in _TELLING):
        return False
    return bool(table.select(keys).group_by(keys).aggregate([]).num_rows < table.num_rows)


def once(kind: RecordKind, table: pa.Table) -> pa.Table:
    """Return one row for each identity, chosen as `assemble` chooses.

    Args:
        kind: Of the records.
        table: All of the kind's columns: equal moments are told apart by content.
    """
    keys = list(IDENTITIES[kind])
    numbered = table.select(keys).append_column(_ROW, pa.array(np.arange(table.num_rows)))
    counted = numbered.group_by(keys).aggregate([(_ROW, "count")])
    repeated = counted.filter(pc.greater(counted[f"{_ROW}_count"], 1)).select(keys)
    among = numbered.join(repeated, keys, join_type="left semi")[_ROW].combine_chunks()
    if not len(among):
        return table
    others = table.filter(pc.invert(pc.is_in(numbered[_ROW], value_set=among)))
    chosen = records_of(assemble(from_table(kind, table.take(among))), kind)
    return pa.concat_tables([others, to_table(kind, chosen)])


def without(kind: RecordKind, table: pa.Table, earlier: pa.Table) -> pa.Table:
    """Return the rows whose identity is not among those of ``earlier``."""
    if not table.num_rows or not earlier.num_rows:
        return table
    keys = list(IDENTITIES[kind])
    numbered = table.select(keys).append_column(_ROW, pa.array(np.arange(table.num_rows)))
    left = numbered.join(earlier.select(keys), keys, join_type="left anti")[_ROW]
    return table.take(left.combine_chunks().sort())


def records_of(snapshot: EventSnapshot, kind: RecordKind) -> tuple[Record, ...]:
    """Return the records of one kind."""
    kept: Mapping[RecordKind, tuple[Record, ...]] = {
        RecordKind.PREDICTION: snapshot.predictions,
        RecordKind.IMPRESSION: snapshot.impressions,
        RecordKind.EXPOSURE: snapshot.exposures,
        RecordKind.OUTCOME: snapshot.outcomes,
        RecordKind.LABEL: snapshot.labels,
        RecordKind.QUARANTINED: snapshot.quarantined,
    }
    return kept[kind]


def empty(kind: RecordKind) -> pa.Table:
    """Return a table of the kind without rows."""
    return SCHEMAS[kind].empty_table()
