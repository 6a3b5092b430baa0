"""What a metric counts in one stretch of time: each event with its unit, its split and its number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamrec.contracts.conventions import MAXIMUM_CLOCK_SKEW
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.metrics.definitions import (
    ANSWERS,
    Aggregation,
    Condition,
    Dimension,
    MetricDefinition,
    Source,
    SourceEvent,
)
from streamrec.events.event_log import EventReader
from streamrec.events.records import RecordKind
from streamrec.events.repetitions import REPETITION_HORIZON
from streamrec.events.time_range import ALL_UNITS, TimeRange, UnitRange
from streamrec.metrics.fields import EventFields, column_of
from streamrec.metrics.outcome_join import (
    IMPRESSION_COLUMNS,
    NO_ANSWER,
    OUTCOME_COLUMNS,
    answered,
    joined_rows,
    microseconds,
)

LATENESS: Final = timedelta(days=1)
"""How long after its window an outcome may arrive and still count: of a phone that was offline."""

_HOUR: Final = timedelta(hours=1)

_LOOKED_AT: Final = 1_000
"""Events for each range of units that are looked at to find where ranges begin."""

_KINDS: Final[Mapping[SourceEvent, RecordKind]] = {
    SourceEvent.IMPRESSION: RecordKind.IMPRESSION,
    SourceEvent.PREDICTION: RecordKind.PREDICTION,
    SourceEvent.OUTCOME: RecordKind.OUTCOME,
}


@dataclass(frozen=True)
class Observations:
    """Events that count.

    Attributes:
        units: Shape (n,), text.
        split: By dimension: shape (n,), text.
        numbers: Shape (n,): how much each counts.
    """

    units: pa.Array
    split: Mapping[str, pa.Array]
    numbers: NDArray[np.float64]

    def where(self, mask: NDArray[np.bool_]) -> Observations:
        """The events that the mask keeps."""
        kept = pa.array(mask)
        split = {name: values.filter(kept) for name, values in self.split.items()}
        return Observations(self.units.filter(kept), split, self.numbers[mask])


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time, and what of the log its figures depend on.

    Attributes:
        start, end: Answers from the one on and before the other count; with them, what belongs to them.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None or self.end <= self.start:
            raise InvalidInputError("end", "must lie after the start, and both must have a time zone")

    @classmethod
    def of_day(cls, day: date) -> Stretch:
        """One UTC day."""
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return cls(start, start + timedelta(days=1))

    @property
    def answers(self) -> TimeRange:
        """When the answers were given."""
        return TimeRange(self.start, self.end)

    def outcomes(self, window: timedelta) -> TimeRange:
        """When outcomes may have been received that belong to the answers.

        Args:
            window: How long after an answer an outcome still belongs to it; zero for those that are not
                joined, which happened inside the stretch by a client's clock.
        """
        return TimeRange(self.start - MAXIMUM_CLOCK_SKEW, self.end + window + LATENESS)

    def rivals(self, window: timedelta) -> TimeRange:
        """When answers were given that such an outcome might belong to instead."""
        return TimeRange(self.start - window - MAXIMUM_CLOCK_SKEW, self.end + window + MAXIMUM_CLOCK_SKEW)


def reads(definition: MetricDefinition, stretch: Stretch) -> Iterator[tuple[RecordKind, TimeRange]]:
    """Yield all that is read of the log for a stretch: what its figures depend on."""
    window = timedelta(hours=definition.window_hours)
    for source in definition.sources:
        if source.event in ANSWERS:
            yield _KINDS[source.event], stretch.answers
        else:
            received = stretch.outcomes(window if source.joined else timedelta())
            yield RecordKind.OUTCOME, received.begun_earlier(REPETITION_HORIZON)
            if source.joined:
                yield RecordKind.IMPRESSION, stretch.rivals(window)


def unit_ranges(
    definition: MetricDefinition, events: EventReader, stretch: Stretch, parts: int
) -> list[UnitRange]:
    """Cut the units of a stretch into ranges of about as many events each, ascending.

    Where they are cut decides how much is in memory at once, and nothing else: a look at the first hours
    that hold enough is enough.

    Args:
        definition: Whose events are read.
        events: The log.
        stretch: Which time.
        parts: How many ranges are wanted.
    """
    if parts < 2:
        return [ALL_UNITS]
    kind = _KINDS[
        next((source for source in definition.sources if source.event in ANSWERS), definition.of).event
    ]
    units = pa.array([], pa.string())
    start = stretch.start
    while start < stretch.end and len(units) < _LOOKED_AT * parts:
        end = min(start + _HOUR, stretch.end)
        units = pa.concat_arrays([units, _units(events.table(kind, ["unit"], TimeRange(start, end)))])
        start = end
    units = units.take(pc.sort_indices(units)).to_pylist()
    cuts = sorted({units[len(units) * part // parts] for part in range(1, parts)} if units else set())
    return [UnitRange(first, end) for first, end in zip([None, *cuts], [*cuts, None], strict=True)]


class StretchReader:
    """Reads what metrics count in one stretch of time."""

    def __init__(
        self,
        events: EventReader,
        stretch: Stretch,
        split: Mapping[str, Dimension],
        units: UnitRange = ALL_UNITS,
    ) -> None:
        """Set it up.

        Args:
            events: The log.
            stretch: Which time.
            split: What the events are told apart by; dimensions of answers.
            units: Only these are read.
        """
        self._events, self._stretch, self._split, self._units = events, stretch, split, units

    def observations(self, definition: MetricDefinition) -> tuple[Observations, Observations | None]:
        """What ``of`` and ``per`` count; of a rate both for each answer of ``per``.

        Raises:
            InvalidInputError: A dimension has more values than it may have.
            DependencyError: The log cannot be read.
            ArtifactError: A file of the log is damaged.
        """
        if definition.aggregation is Aggregation.RATE and definition.per is not None:
            return self._rate(definition, definition.per)
        window = timedelta(hours=definition.window_hours)
        of = self._source(definition.of, window)
        return of, None if definition.per is None else self._source(definition.per, window)

    def _source(self, source: Source, window: timedelta) -> Observations:
        if source.event in ANSWERS:
            return self._answers(source)
        if source.joined:
            return self._joined(source, window)
        return self._unjoined(source)

    def _rate(self, definition: MetricDefinition, per: Source) -> tuple[Observations, Observations]:
        of = definition.of
        fields = (*_fields(per), *_fields(of)) if of.event in ANSWERS else _fields(per)
        table = self._answer_table(per.event, fields)
        columns = EventFields(table, (*fields, *self._split_fields()))
        counts = _mask(columns, table, per)
        if of.event in ANSWERS:
            hit = _mask(columns, table, of)
        else:
            hit = np.zeros(table.num_rows, dtype=np.bool_)
            outcomes = self._outcome_table(of, self._stretch.outcomes(self._window(definition)))
            rows = self._rows_in(table, outcomes, self._window(definition))
            hit[rows[rows != NO_ANSWER]] = True
            if of.slots:
                hit &= _in_slots(table, of)
        every = Observations(_units(table), self._values(columns), np.ones(table.num_rows))
        kept = every.where(counts)
        return Observations(kept.units, kept.split, hit[counts].astype(np.float64)), kept

    def _answers(self, source: Source) -> Observations:
        table = self._answer_table(source.event, _fields(source))
        columns = EventFields(table, (*_fields(source), *self._split_fields()))
        numbers = _numbers(columns, table, source)
        every = Observations(_units(table), self._values(columns), numbers)
        return every.where(_mask(columns, table, source) & ~np.isnan(numbers))

    def _joined(self, source: Source, window: timedelta) -> Observations:
        answers = self._answer_table(SourceEvent.IMPRESSION, ())
        outcomes = self._outcome_table(source, self._stretch.outcomes(window))
        rows = self._rows_in(answers, outcomes, window)
        numbers = _numbers(EventFields(outcomes, ()), outcomes, source)
        columns = EventFields(answers, self._split_fields())
        counts = (rows != NO_ANSWER) & ~np.isnan(numbers)
        if source.slots:
            counts[counts] = _in_slots(answers, source)[rows[counts]]
        kept = pa.array(rows[counts])
        split = {name: values.take(kept) for name, values in self._values(columns).items()}
        return Observations(_units(answers).take(kept), split, numbers[counts])

    def _unjoined(self, source: Source) -> Observations:
        table = self._outcome_table(source, self._stretch.outcomes(timedelta()))
        numbers = _numbers(EventFields(table, ()), table, source)
        occurred = microseconds(table["occurred_at"])
        start, end = (_microseconds(moment) for moment in (self._stretch.start, self._stretch.end))
        every = Observations(_units(table), {}, numbers)
        return every.where((occurred >= start) & (occurred < end) & ~np.isnan(numbers))

    def _answer_table(self, event: SourceEvent, fields: Sequence[str]) -> pa.Table:
        needed = [column_of(field) for field in (*fields, *self._split_fields())]
        join = IMPRESSION_COLUMNS if event is SourceEvent.IMPRESSION else ("unit", "slot")
        names = list(dict.fromkeys([*join, *needed]))
        return self._table(_KINDS[event], names, self._stretch.answers)

    def _outcome_table(self, source: Source, received: TimeRange) -> pa.Table:
        names = [*OUTCOME_COLUMNS, "kind", "value", "currency"]
        table = self._table(RecordKind.OUTCOME, names, received)
        table = table.filter(pc.is_in(table["kind"], value_set=pa.array(source.kinds, pa.string())))
        return table.filter(pa.array(_where(EventFields(table, ()), table.num_rows, source)))

    def _table(self, kind: RecordKind, columns: Sequence[str], window: TimeRange) -> pa.Table:
        return self._events.table(kind, columns, window, self._units)

    def _rows_in(self, answers: pa.Table, outcomes: pa.Table, window: timedelta) -> NDArray[np.int64]:
        """Row of the answer that each outcome belongs to, where that is one of the stretch.

        An answer outside the stretch may have the better claim to an outcome: then it counts there.
        """
        named = answered(outcomes, answers.append_column("row", pa.array(np.arange(answers.num_rows))))
        if not named.num_rows:
            return np.full(outcomes.num_rows, NO_ANSWER, dtype=np.int64)
        rivals = [
            answered(outcomes, self._table(RecordKind.IMPRESSION, IMPRESSION_COLUMNS, outside))
            for outside in self._around(window)
        ]
        columns = [*IMPRESSION_COLUMNS, "row"]
        elsewhere = [
            rival.append_column("row", pa.array(np.full(rival.num_rows, NO_ANSWER))).select(columns)
            for rival in rivals
        ]
        candidates = pa.concat_tables([named.select(columns), *elsewhere])
        found = joined_rows(outcomes, candidates, window)
        rows: NDArray[np.int64] = candidates["row"].to_numpy()
        return np.where(found == NO_ANSWER, NO_ANSWER, rows[found])

    def _around(self, window: timedelta) -> tuple[TimeRange, TimeRange]:
        around = self._stretch.rivals(window)
        return TimeRange(around.start, self._stretch.start), TimeRange(self._stretch.end, around.end)

    def _split_fields(self) -> tuple[str, ...]:
        return tuple(dimension.field for dimension in self._split.values())

    def _values(self, columns: EventFields) -> dict[str, pa.Array]:
        return {name: columns.values(name, dimension) for name, dimension in self._split.items()}

    @staticmethod
    def _window(definition: MetricDefinition) -> timedelta:
        return timedelta(hours=definition.window_hours)


def _fields(source: Source) -> tuple[str, ...]:
    conditions = (*source.where, *source.where_any)
    named = [condition.field for condition in conditions]
    return tuple(named if source.field is None else [source.field, *named])


def _units(table: pa.Table) -> pa.Array:
    return table["unit"].combine_chunks()


def _numbers(columns: EventFields, table: pa.Table, source: Source) -> NDArray[np.float64]:
    return np.ones(table.num_rows) if source.field is None else columns.numbers(source.field)


def _mask(columns: EventFields, table: pa.Table, source: Source) -> NDArray[np.bool_]:
    mask = _where(columns, table.num_rows, source)
    return mask & _in_slots(table, source) if source.slots else mask


def _in_slots(table: pa.Table, source: Source) -> NDArray[np.bool_]:
    inside = pc.is_in(table["slot"], value_set=pa.array(source.slots, pa.string()))
    mask: NDArray[np.bool_] = inside.to_numpy().astype(np.bool_)
    return mask


def _where(columns: EventFields, rows: int, source: Source) -> NDArray[np.bool_]:
    mask = np.ones(rows, dtype=np.bool_)
    for condition in source.where:
        mask &= columns.holds(condition)
    if source.where_any:
        mask &= _any(columns, rows, source.where_any)
    return mask


def _any(columns: EventFields, rows: int, conditions: Sequence[Condition]) -> NDArray[np.bool_]:
    mask = np.zeros(rows, dtype=np.bool_)
    for condition in conditions:
        mask |= columns.holds(condition)
    return mask


def _microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
