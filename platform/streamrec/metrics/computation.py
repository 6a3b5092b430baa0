"""Computes a metric over a range of time: what is kept of finished days, and what is missing from the log."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from streamrec.contracts.canonical_json import canonical_json
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.intervals import Interval, interval_json
from streamrec.contracts.json_documents import document_json
from streamrec.contracts.metrics.definitions import Aggregation
from streamrec.contracts.progress import Progress
from streamrec.contracts.results import MAXIMUM_REASONS, Reason, Result, Verdict
from streamrec.events.event_log import EventReader, LogExtent
from streamrec.metrics.catalogue import Metric, MetricCatalogue
from streamrec.metrics.estimates import Cell, Split, Statistics, UnitSegments, estimate, statistics_of
from streamrec.metrics.observations import Stretch, reads
from streamrec.metrics.statistics_files import (
    MemoryRows,
    StatisticsFolder,
    StatisticsKey,
    UnitRows,
    log_fingerprint,
)
from streamrec.metrics.unit_rows import empty_rows, unit_rows
from streamrec.stats.quantile_counts import LEAST_UNITS_BEYOND

METRIC_FIGURES_SCHEMA: Final = "streamrec.metric_figures.v1"

MAXIMUM_DAYS: Final = 400
"""As long as events are kept by default."""

MAXIMUM_DIMENSIONS: Final = 5
"""That one figure is split by; with more, every cell is nearly empty."""

_FORMAT: Final = 1
"""Of what is kept: files of another one are computed anew."""

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class MetricSources:
    """What metrics are computed from.

    Attributes:
        events: The log.
        segments: What is known of units.
        kept: Where the statistics of days are kept; None: nowhere.
        is_erased: Whether nothing may be kept of a unit.
    """

    events: EventReader
    segments: UnitSegments
    kept: StatisticsFolder | None
    is_erased: Callable[[str], bool]


@dataclass(frozen=True)
class Figure:
    """A metric in one cell.

    Attributes:
        cell: Values of the dimensions.
        estimate: With its interval; None where it cannot be estimated.
        statistics: What it was estimated from: adds up over units, and compares with another cell's.
    """

    cell: Cell
    estimate: Interval | None
    statistics: Statistics


@dataclass(frozen=True)
class MetricFigures:
    """A metric over a range of time.

    Attributes:
        metric: Which.
        start, end: Answers from the one on and before the other count.
        by: The dimensions of the cells.
        figures: One for each cell that occurs, in ascending order; one alone where nothing is split.
        computed_days: Days, or parts of one, that were computed from the log and not found.
    """

    metric: Metric
    start: datetime
    end: datetime
    by: tuple[str, ...]
    figures: tuple[Figure, ...]
    computed_days: int


def compute(
    metric: Metric,
    catalogue: MetricCatalogue,
    sources: MetricSources,
    *,
    start: datetime,
    end: datetime,
    now: datetime,
    progress: Progress,
    by: Sequence[str] = (),
    level: float = 0.95,
) -> MetricFigures:
    """Compute a metric.

    Args:
        metric: Which.
        catalogue: Knows the dimensions.
        sources: What it is computed from.
        start: Answers from here on count.
        end: Answers before this count. What belongs to them may come until the metric's window is over and
            `observations.LATENESS` later; a figure of an earlier moment is not final.
        now: By the platform's clock.
        progress: Shows the days.
        by: Names of dimensions.
        level: Confidence of the intervals.

    Raises:
        InvalidInputError: The range is empty or too long, a dimension is unknown, named twice, has more
            values than it may have, or says nothing about the metric's events; the level is none.
        DependencyError, ArtifactError: The log cannot be read or is damaged.
    """
    if not 0.5 <= level < 1.0:
        raise InvalidInputError("level", "must be at least 0.5 and below 1, for example 0.95")
    split = _split(metric, catalogue, sources, by)
    stretches = list(_stretches(start, end))
    extent = sources.events.extent()
    digest = _digest(metric, split)
    progress.start(f"{metric.name}: days", len(stretches))
    rows: list[UnitRows] = []
    computed = 0
    for stretch in stretches:
        found, was_computed = _rows_of(metric, split, sources, stretch, extent, digest, now)
        rows.append(found)
        computed += was_computed
        progress.advance(note=stretch.start.date().isoformat())
    if sources.kept is not None and extent.records:
        sources.kept.remove_before(min(day for _, day in extent.records))
    statistics = statistics_of(metric.definition, split, rows)
    if not split.names:
        statistics = statistics or {(): Statistics()}
    figures = tuple(
        Figure(cell, estimate(metric.definition, found_statistics, level), found_statistics)
        for cell, found_statistics in statistics.items()
    )
    progress.finish(f"{computed} of {len(stretches)} computed, the others were kept or hold nothing")
    return MetricFigures(metric, start, end, split.names, figures, computed)


def result_of(figures: MetricFigures) -> Result:
    """The figures as a result: passed only where every cell has an interval and units enough."""
    reasons = list(_reasons(figures))
    verdict = Verdict.INCONCLUSIVE if reasons else Verdict.PASSED
    return Result(METRIC_FIGURES_SCHEMA, verdict, tuple(reasons[:MAXIMUM_REASONS]), _content(figures))


def _content(figures: MetricFigures) -> dict[str, Any]:
    definition = figures.metric.definition
    return {
        "metric": figures.metric.name,
        "definition": figures.metric.digest,
        "unit": definition.unit,
        "direction": definition.direction.value,
        "from": _time(figures.start),
        "to": _time(figures.end),
        "by": list(figures.by),
        "minimum_sample": definition.minimum_sample,
        "figures": [
            {
                "dimensions": dict(zip(figures.by, figure.cell, strict=True)),
                "estimate": interval_json(figure.estimate),
                "units": figure.statistics.moments.units,
                "cases": figure.statistics.cases,
                "verdict": (Verdict.INCONCLUSIVE if _reason(figures, figure) else Verdict.PASSED).value,
            }
            for figure in figures.figures
        ],
    }


def _reasons(figures: MetricFigures) -> Iterator[Reason]:
    if not figures.figures:
        yield Reason("no_events", "figures", f"no event of {figures.metric.name} lies in the range")
    for number, figure in enumerate(figures.figures):
        found = _reason(figures, figure)
        if found is not None:
            code, problem = found
            cell = ", ".join(f"{name} {value}" for name, value in zip(figures.by, figure.cell, strict=True))
            yield Reason(code, f"figures.{number}", f"{cell}: {problem}" if cell else problem)


def _reason(figures: MetricFigures, figure: Figure) -> tuple[str, str] | None:
    units, least = figure.statistics.moments.units, figures.metric.definition.minimum_sample
    if units < least:
        return "below_minimum_sample", f"{units:,} units are fewer than the {least:,} that are needed"
    if figure.estimate is None:
        if figures.metric.definition.aggregation is Aggregation.QUANTILE:
            return "no_estimate", f"fewer than {LEAST_UNITS_BEYOND} units have values beyond the quantile"
        return "no_estimate", "no unit differs from another, so that nothing says how sure the figure is"
    return None


def _split(metric: Metric, catalogue: MetricCatalogue, sources: MetricSources, by: Sequence[str]) -> Split:
    if len(set(by)) < len(by):
        raise InvalidInputError("by", "names a dimension twice")
    if len(by) > MAXIMUM_DIMENSIONS:
        raise InvalidInputError("by", f"names more than {MAXIMUM_DIMENSIONS} dimensions")
    dimensions = {name: catalogue.dimension(name) for name in by}
    for name, dimension in dimensions.items():
        if not dimension.of_unit and not metric.definition.belongs_to_answers:
            raise InvalidInputError(
                "by", f"{name} is said of answers, and {metric.name} counts events that belong to none"
            )
        is_prediction = any(source.event == "prediction" for source in metric.definition.sources)
        if is_prediction and dimension.field.partition(".")[0] in ("versions", "variants"):
            raise InvalidInputError("by", f"{name} is said of impressions, and {metric.name} counts others")
    return Split(tuple(by), dimensions, sources.segments)


def _stretches(start: datetime, end: datetime) -> Iterator[Stretch]:
    """Yield the UTC days of a range; the first and the last one may be parts."""
    whole = Stretch(start, end)
    if whole.end - whole.start > MAXIMUM_DAYS * _DAY:
        raise InvalidInputError("to", f"lies more than {MAXIMUM_DAYS} days after the start")
    while start < end:
        next_day = Stretch.of_day(start.astimezone(UTC).date()).end
        yield Stretch(start.astimezone(UTC), min(next_day, end).astimezone(UTC))
        start = next_day


def _rows_of(
    metric: Metric,
    split: Split,
    sources: MetricSources,
    stretch: Stretch,
    extent: LogExtent,
    digest: str,
    now: datetime,
) -> tuple[UnitRows, bool]:
    """The statistics of a stretch, and whether they were computed."""
    definition = metric.definition
    needed = list(reads(definition, stretch))
    held = sum(
        records
        for wanted, window in needed
        for (kind, day), records in extent.records.items()
        if kind is wanted and window.touches(day)
    )
    if not held:
        return MemoryRows(empty_rows(definition, tuple(split.of_answers))), False
    final = all(window.end is not None and window.end <= now for _, window in needed)
    fingerprint = log_fingerprint(extent, needed, final=final)
    day = stretch.start.date()
    kept = sources.kept if stretch == Stretch.of_day(day) else None
    key = StatisticsKey(metric.name, digest, day, fingerprint)
    found = None if kept is None else kept.find(key)
    if found is not None:
        return found, False
    rows = unit_rows(definition, split.of_answers, sources.events, stretch, sources.is_erased, records=held)
    if kept is not None:
        kept.keep(key, rows)
        found = kept.find(key)  # from here on the days of a long range need no memory
    return found or MemoryRows(rows), True


def _digest(metric: Metric, split: Split) -> str:
    """Of all that decides what statistics are kept."""
    dimensions: Mapping[str, Any] = {name: document_json(kept) for name, kept in split.of_answers.items()}
    document = {"format": _FORMAT, "metric": metric.digest, "split": dimensions}
    return hashlib.sha256(canonical_json(document)).hexdigest()


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
