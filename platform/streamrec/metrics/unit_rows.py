"""Sufficient statistics of one stretch of time: what each unit did in it, one row for each unit and split.

They are kept by unit, because a unit that is active on several days is still one unit: its days are added up
before anything is squared. Rows of any number of stretches that do not overlap add up to those of all.

    unit                 text
    by.DIMENSION         text, one column for each dimension of answers
    cases                int64: events of ``per`` (of a quantile: of ``of``)
    total, per_total     float64: sums of ``of`` and ``per``
    bucket               int32: of a quantile instead of the sums, the bucket that the cases lie in
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamrec.contracts.metrics.definitions import Aggregation, CappedPer, Dimension, MetricDefinition
from streamrec.events.event_log import EventReader
from streamrec.events.time_range import UnitRange
from streamrec.metrics.grouping import grouped_sums
from streamrec.metrics.observations import Observations, Stretch, StretchReader, unit_ranges
from streamrec.stats.quantile_counts import bucket_keys

UNIT: Final = "unit"
CASES: Final = "cases"
TOTAL: Final = "total"
PER_TOTAL: Final = "per_total"
BUCKET: Final = "bucket"

RECORDS_AT_ONCE: Final = 1_000_000
"""Of the days that are read for one day: 0.4 to 0.7 GB of memory."""


def split_column(name: str) -> str:
    """The column of a dimension."""
    return f"by.{name}"


def unit_rows(
    definition: MetricDefinition,
    split: Mapping[str, Dimension],
    events: EventReader,
    stretch: Stretch,
    is_erased: Callable[[str], bool],
    *,
    records: int = 0,
) -> pa.Table:
    """Compute the statistics of a stretch, sorted by unit.

    Units are read in ranges of about `RECORDS_AT_ONCE` records, so that memory does not grow with the log.

    Args:
        definition: Of the metric.
        split: Dimensions of answers, by name.
        events: The log.
        stretch: At most a day.
        is_erased: Whether nothing may be kept of a unit.
        records: About how many records the log holds of what is read.

    Raises:
        InvalidInputError: A dimension has more values than it may have.
        DependencyError: The log cannot be read.
        ArtifactError: A file of the log is damaged.
    """
    ranges = unit_ranges(definition, events, stretch, 1 + records // RECORDS_AT_ONCE)
    parts = [_rows_of_units(definition, split, events, stretch, units) for units in ranges]
    return _without_erased(pa.concat_tables(parts), is_erased)


def _rows_of_units(
    definition: MetricDefinition,
    split: Mapping[str, Dimension],
    events: EventReader,
    stretch: Stretch,
    units: UnitRange,
) -> pa.Table:
    of, per = StretchReader(events, stretch, split, units).observations(definition)
    keys = [UNIT, *map(split_column, split)]
    if definition.aggregation is Aggregation.QUANTILE:
        rows = grouped_sums(_bucketed(of), [*keys, BUCKET])
    else:
        rows = grouped_sums(_summed(definition, of, per), keys)
        if definition.capping is not None and definition.capping.per is CappedPer.UNIT_DAY:
            rows = _capped(rows, definition.capping.at)
    return rows


def empty_rows(definition: MetricDefinition, split: Sequence[str]) -> pa.Table:
    """Statistics of nothing."""
    texts = [pa.field(name, pa.string()) for name in (UNIT, *map(split_column, split))]
    if definition.aggregation is Aggregation.QUANTILE:
        numbers = [pa.field(BUCKET, pa.int32()), pa.field(CASES, pa.int64())]
    else:
        numbers = [
            pa.field(CASES, pa.int64()),
            pa.field(TOTAL, pa.float64()),
            pa.field(PER_TOTAL, pa.float64()),
        ]
    return pa.schema([*texts, *numbers]).empty_table()


def _bucketed(of: Observations) -> pa.Table:
    ones = np.ones(of.numbers.size, dtype=np.int64)
    return pa.table({**_keys(of), BUCKET: pa.array(bucket_keys(of.numbers)), CASES: pa.array(ones)})


def _summed(definition: MetricDefinition, of: Observations, per: Observations | None) -> pa.Table:
    numbers = of.numbers
    if definition.capping is not None and definition.capping.per is CappedPer.EVENT:
        numbers = np.minimum(numbers, definition.capping.at)
    tables = [_table(of, np.zeros(numbers.size, dtype=np.int64), numbers, np.zeros(numbers.size))]
    if per is not None:
        size = per.numbers.size
        tables.append(_table(per, np.ones(size, dtype=np.int64), np.zeros(size), per.numbers))
    return pa.concat_tables(tables)


def _table(
    seen: Observations, cases: NDArray[np.int64], total: NDArray[np.float64], per: NDArray[np.float64]
) -> pa.Table:
    return pa.table({**_keys(seen), CASES: pa.array(cases), TOTAL: pa.array(total), PER_TOTAL: pa.array(per)})


def _keys(seen: Observations) -> dict[str, pa.Array]:
    return {UNIT: seen.units, **{split_column(name): values for name, values in seen.split.items()}}


def _capped(rows: pa.Table, at: float) -> pa.Table:
    """Bound each unit's sum; where a unit is split, every part bears its share, so that parts add up."""
    if not rows.num_rows:
        return rows
    totals = rows[TOTAL].to_numpy()
    units = rows[UNIT].combine_chunks()
    starts = np.flatnonzero(np.r_[True, pc.not_equal(units[1:], units[:-1]).to_numpy(zero_copy_only=False)])
    of_unit = np.repeat(np.add.reduceat(totals, starts), np.diff(np.r_[starts, rows.num_rows]))
    with np.errstate(invalid="ignore", divide="ignore"):
        capped = np.where(of_unit > at, at * (totals / of_unit), totals)
    return rows.set_column(rows.column_names.index(TOTAL), TOTAL, pa.array(capped))


def _without_erased(rows: pa.Table, is_erased: Callable[[str], bool]) -> pa.Table:
    units = pc.unique(rows[UNIT])
    erased = [unit for unit in units.to_pylist() if is_erased(unit)]
    if not erased:
        return rows
    return rows.filter(pc.invert(pc.is_in(rows[UNIT], value_set=pa.array(erased, pa.string()))))
