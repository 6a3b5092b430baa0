"""Figures with intervals out of statistics by unit: read in ranges of units, so that memory is bounded."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.intervals import Interval
from streamrec.contracts.metrics.definitions import Aggregation, Dimension, MetricDefinition
from streamrec.metrics.fields import bounded, check_bound
from streamrec.metrics.grouping import grouped_sums
from streamrec.metrics.statistics_files import UnitRows
from streamrec.metrics.unit_rows import BUCKET, CASES, PER_TOTAL, TOTAL, UNIT, split_column
from streamrec.stats.clustered_ratios import RatioMoments, ratio_interval, share_interval
from streamrec.stats.quantile_counts import QuantileCounts, TailErrors, quantile_interval

MAXIMUM_CELLS: Final = 1_000
"""Figures of one computation: beyond, nobody reads them, and each has too few units."""

BLOCKS_AT_ONCE: Final = 16
"""Blocks of rows that are in memory at once, of all days together: about a million rows."""

Cell = tuple[str, ...]
"""The values of the dimensions, in the order that was asked for."""


class UnitSegments(Protocol):
    """What is known of units."""

    def values(self, attribute: str, units: pa.Array) -> pa.Array:
        """The attribute of each unit as text, ``unknown`` where it is not known; same length, no nulls.

        Raises:
            InvalidInputError: Nothing of that name is known of units.
        """
        ...


@dataclass
class Statistics:
    """What was added up of one cell.

    Attributes:
        moments: Over units; of a quantile x counts the cases at or below it.
        cases: Events that it rests on.
        buckets: Of a quantile: all cases by bucket.
        errors: Of a quantile: how units differ at it.
    """

    moments: RatioMoments = field(default_factory=RatioMoments)
    cases: int = 0
    buckets: QuantileCounts | None = None
    errors: TailErrors | None = None


@dataclass(frozen=True)
class Split:
    """What figures are split by.

    Attributes:
        names: All dimensions, in the order that was asked for.
        dimensions: By name.
        segments: What is known of units.
    """

    names: tuple[str, ...]
    dimensions: Mapping[str, Dimension]
    segments: UnitSegments

    @property
    def of_answers(self) -> dict[str, Dimension]:
        """Those of answers, by name in a fixed order: statistics are kept split by them."""
        return {
            name: self.dimensions[name] for name in sorted(self.names) if not self.dimensions[name].of_unit
        }


def statistics_of(
    definition: MetricDefinition, split: Split, rows: Sequence[UnitRows]
) -> dict[Cell, Statistics]:
    """Add up statistics by cell, cells in ascending order.

    Args:
        definition: Of the metric.
        split: What the figures are split by.
        rows: Of stretches that do not overlap, in the order of time.

    Raises:
        InvalidInputError: There are too many cells, or a dimension has more values than it may have.
    """
    if definition.aggregation is Aggregation.QUANTILE:
        return _quantile_statistics(definition, split, rows)
    found: dict[Cell, Statistics] = {}
    for part in _partitions(split, rows, key_columns=()):
        all_cases, totals, pers = (part[name].to_numpy() for name in (CASES, TOTAL, PER_TOTAL))
        for cell, cell_rows in _cells(part, split):
            total, per = totals[cell_rows], pers[cell_rows]
            if definition.aggregation is Aggregation.MEAN:  # over the units that `per` saw, each once
                total, per = total[per > 0.0], np.ones(np.count_nonzero(per > 0.0))
            known = _statistics_in(found, cell)
            known.moments += RatioMoments.of(total, per)
            known.cases += int(all_cases[cell_rows].sum())
    return _checked(found, split)


def estimate(definition: MetricDefinition, statistics: Statistics, level: float) -> Interval | None:
    """The figure of a cell with its interval; None where it cannot be estimated."""
    if definition.aggregation is Aggregation.QUANTILE:
        if statistics.buckets is None or statistics.errors is None or definition.quantile is None:
            return None
        return quantile_interval(statistics.buckets, statistics.errors, definition.quantile, level=level)
    if definition.aggregation is Aggregation.RATE:
        return share_interval(statistics.moments, level=level)
    return ratio_interval(statistics.moments, level=level)


def _quantile_statistics(
    definition: MetricDefinition, split: Split, rows: Sequence[UnitRows]
) -> dict[Cell, Statistics]:
    """In two passes: where the quantile lies, then how many cases of each unit lie at or below it."""
    found: dict[Cell, Statistics] = {}
    for part in _partitions(split, rows, key_columns=(BUCKET,)):
        keys, cases = (part[name].to_numpy() for name in (BUCKET, CASES))
        for cell, cell_rows in _cells(part, split):
            known = _statistics_in(found, cell)
            counts = QuantileCounts.of(keys[cell_rows], cases[cell_rows])
            known.buckets = counts if known.buckets is None else known.buckets + counts
            known.cases += int(cases[cell_rows].sum())
    for part in _partitions(split, rows, key_columns=(BUCKET,)):
        keys, cases = (part[name].to_numpy() for name in (BUCKET, CASES))
        units = part[UNIT].combine_chunks().dictionary_encode().indices.to_numpy()
        for cell, cell_rows in _cells(part, split):
            known = found[cell]
            if known.buckets is not None and definition.quantile is not None:
                key = known.buckets.key_at(definition.quantile)
                starts = _unit_starts(units[cell_rows])
                of_unit = np.add.reduceat(cases[cell_rows].astype(np.float64), starts)
                at_or_below = np.where(keys[cell_rows] <= key, cases[cell_rows], 0)
                below = np.add.reduceat(at_or_below.astype(np.float64), starts)
                known.moments += RatioMoments.of(below, of_unit)
                errors = TailErrors.of(known.buckets.share_up_to(key), below, of_unit)
                known.errors = errors if known.errors is None else known.errors + errors
    return _checked(found, split)


def _unit_starts(units: NDArray[np.int32]) -> NDArray[np.int64]:
    """Where the rows of each unit begin; rows are sorted by unit."""
    return np.flatnonzero(np.r_[True, units[1:] != units[:-1]])


def _partitions(split: Split, rows: Sequence[UnitRows], key_columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the sums of a range of units after the other, every unit of a range whole, over all stretches."""
    blocks = list(heapq.merge(*(stretch.starts() for stretch in rows)))
    bounds = sorted(set(blocks[BLOCKS_AT_ONCE::BLOCKS_AT_ONCE]))
    keys = [UNIT, *map(split_column, split.of_answers), *key_columns]
    for first, end in zip([None, *bounds], [*bounds, None], strict=True) if blocks else ():
        part = pa.concat_tables([stretch.between(first, end) for stretch in rows])
        if part.num_rows:
            yield grouped_sums(part, keys)


def _cells(part: pa.Table, split: Split) -> Iterator[tuple[Cell, NDArray[np.int64]]]:
    """Yield each cell with its rows, ascending."""
    if not split.names:
        yield (), np.arange(part.num_rows)
        return
    columns = [_values(part, split, name) for name in split.names]
    encoded = [column.dictionary_encode() for column in columns]
    sizes = tuple(len(code.dictionary) for code in encoded)
    cells = np.ravel_multi_index(tuple(code.indices.to_numpy() for code in encoded), sizes)
    order = np.argsort(cells, kind="stable")
    different, starts = np.unique(cells[order], return_index=True)
    places = np.stack(np.unravel_index(different, sizes), axis=1)
    for place, cell_rows in zip(places.tolist(), np.split(order, starts[1:]), strict=True):
        yield tuple(code.dictionary[at].as_py() for code, at in zip(encoded, place, strict=True)), cell_rows


def _values(part: pa.Table, split: Split, name: str) -> pa.Array:
    dimension = split.dimensions[name]
    if not dimension.of_unit:
        return part[split_column(name)].combine_chunks()
    attribute = dimension.field.partition(".")[2]
    return bounded(name, dimension, split.segments.values(attribute, part[UNIT].combine_chunks()))


def _statistics_in(found: dict[Cell, Statistics], cell: Cell) -> Statistics:
    known = found.setdefault(cell, Statistics())
    if len(found) > MAXIMUM_CELLS:
        raise InvalidInputError("by", f"makes more than {MAXIMUM_CELLS} figures; split by fewer dimensions")
    return known


def _checked(found: dict[Cell, Statistics], split: Split) -> dict[Cell, Statistics]:
    for position, name in enumerate(split.names):
        check_bound(name, split.dimensions[name], {cell[position] for cell in found})
    return dict(sorted(found.items()))
