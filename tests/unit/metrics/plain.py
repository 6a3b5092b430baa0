"""Metrics in plain loops over objects, without tables, statistics or files: what the real ones must equal."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, datetime, timedelta

from streamrec.contracts.metrics.definitions import Aggregation, CappedPer, MetricDefinition, Source
from streamrec.events.event_log import EventSnapshot
from streamrec.events.joining import join_outcomes
from streamrec.metrics.fields import holds

SEGMENTS = {f"u{number}": {"country": "de" if number % 3 else "fr"} for number in range(0, 40, 2)}


def plain_units(
    definition: MetricDefinition, log: EventSnapshot, start: datetime, end: datetime, fields=()
) -> dict[tuple[str, ...], dict[str, list]]:
    """By cell and unit: [sum of ``of``, sum of ``per``, cases, values of ``of``]."""
    found: dict = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0, 0, []]))
    days: dict = defaultdict(float)
    rows = list(_rows(definition, log, fields))
    cap = definition.capping
    for side, _, unit, at, number in rows:
        if side == "of" and start <= at < end:
            days[unit, at.astimezone(UTC).date()] += _capped(number, cap)
    for side, cell, unit, at, number in rows:
        if not start <= at < end:
            continue
        sums = found[cell][unit]
        if side == "per":
            sums[1] += number
            sums[2] += 1
            continue
        counted = _capped(number, cap)
        if cap is not None and cap.per is CappedPer.UNIT_DAY:
            total = days[unit, at.astimezone(UTC).date()]
            counted *= min(1.0, cap.at / total) if total else 1.0
        sums[0] += counted
        sums[3].append(number)
        if definition.per is None:
            sums[2] += 1
    return found


def plain_figure(definition: MetricDefinition, units: dict[str, list]) -> tuple[float, float | None, int]:
    """The figure, its standard error (None for a quantile), and how many units it rests on."""
    pairs = [(sums[0], sums[1]) for sums in units.values()]
    if definition.aggregation is Aggregation.QUANTILE:
        values = sorted(value for sums in units.values() for value in sums[3])
        place = max(1, math.ceil(definition.quantile * len(values) - 1e-9))
        return values[place - 1], None, len(units)
    if definition.aggregation is Aggregation.MEAN:
        pairs = [(x, 1.0) for x, y in pairs if y > 0]
    n = len(pairs)
    ratio = sum(x for x, _ in pairs) / sum(y for _, y in pairs)
    squares = sum((x - ratio * y) ** 2 for x, y in pairs)
    return ratio, math.sqrt(n / (n - 1) * squares) / sum(y for _, y in pairs), n


def _capped(number: float, cap) -> float:
    return min(number, cap.at) if cap is not None and cap.per is CappedPer.EVENT else number


def _rows(definition: MetricDefinition, log: EventSnapshot, fields):
    """Yield side, cell, unit, moment and number of everything that counts."""
    window = timedelta(hours=definition.window_hours)
    if definition.aggregation is Aggregation.RATE:
        hits = {id(answer) for answer, _, _, _ in _source(definition.of, log, window) if answer is not None}
        for answer, unit, at, _ in _source(definition.per, log, window):
            yield "per", _cell(answer, unit, fields), unit, at, 1.0
            yield "of", _cell(answer, unit, fields), unit, at, float(id(answer) in hits)
        return
    for side, source in (("of", definition.of), ("per", definition.per)):
        if source is not None:
            for answer, unit, at, number in _source(source, log, window):
                yield side, _cell(answer, unit, fields), unit, at, number


def _source(source: Source, log: EventSnapshot, window: timedelta):
    """Yield answer, unit, moment and number of the events of a source."""
    if source.event != "outcome":
        for answer in log.impressions if source.event == "impression" else log.predictions:
            number = _number(source, answer)
            if _holds(source, answer) and number is not None:
                yield answer, answer.unit, answer.predicted_at, number
        return
    outcomes = [kept for kept in log.outcomes if kept.kind in source.kinds and _holds(source, kept)]
    if not source.joined:
        for kept in outcomes:
            number = _number(source, kept)
            if number is not None:
                yield None, kept.unit, kept.occurred_at, number
        return
    for match in join_outcomes(log.impressions, outcomes, window=window).joined:
        number = _number(source, match.outcome)
        if number is not None and (not source.slots or match.impression.slot in source.slots):
            yield match.impression, match.impression.unit, match.impression.predicted_at, number


def _field(event, field):
    if field == "items":
        return len(event.item_ids)
    base, _, key = field.partition(".")
    found = getattr(event, base)
    return (found or {}).get(key) if key else found


def _number(source: Source, event):
    if source.field is None:
        return 1.0
    found = _field(event, source.field)
    return None if found is None or isinstance(found, bool | str) else float(found)


def _holds(source: Source, event) -> bool:
    if source.slots and source.event != "outcome" and event.slot not in source.slots:
        return False
    every = all(holds(condition, _field(event, condition.field)) for condition in source.where)
    any_of = source.where_any
    return every and (not any_of or any(holds(c, _field(event, c.field)) for c in any_of))


def _cell(answer, unit, fields) -> tuple[str, ...]:
    values = []
    for field in fields:
        if field.startswith("segment."):
            values.append(SEGMENTS.get(unit, {}).get(field.partition(".")[2]))
        else:
            values.append(_field(answer, field))
    return tuple("unknown" if value is None else str(value) for value in values)
