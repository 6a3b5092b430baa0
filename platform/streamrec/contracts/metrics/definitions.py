"""A business metric, defined once: which events it counts, how they become a figure, when that may be read.

A metric is computed over units (users), because the events of one user are not independent of each other.
Four ways to aggregate:

mean      what a unit does: the sum of ``of`` for each unit, averaged over all units that ``per`` saw
ratio     the sum of ``of`` over the sum of ``per``
rate      the share of answers (``per``) for which ``of`` holds: an outcome that belongs to it, or a condition
quantile  of a number that each event of ``of`` holds

An event counts on the day of the answer that it belongs to; an outcome that is not joined to an answer counts
on the day when it happened by the client's clock. So what is sent again later, or arrives late, changes no
other day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.event_fields import KindName
from streamrec.contracts.json_documents import NO_CONTROL_CHARACTERS, STRICT
from streamrec.contracts.slots import SlotName

METRICS_SCHEMA: Final = "streamrec.metrics.v1"

MAXIMUM_WINDOW_HOURS: Final = 168.0
"""A week. Reading a day costs the days of the window, and its figures are final when the window is over."""

MAXIMUM_DIMENSION_VALUES: Final = 1_000
MAXIMUM_METRICS: Final = 500

_NAME: Final = r"[a-z][a-z0-9_]*"
_WORD: Final = r"[A-Za-z_][A-Za-z0-9_]*"

Name = Annotated[str, Field(pattern=f"^{_NAME}$", max_length=64)]
"""Of a metric or a dimension: lower-case words joined by underscores."""

OneLine = Annotated[str, Field(min_length=1, max_length=400, pattern=NO_CONTROL_CHARACTERS)]
FiniteNumber = Annotated[float, Field(allow_inf_nan=False)]
Scalar = bool | int | FiniteNumber | Annotated[str, Field(max_length=200)]


class SourceEvent(StrEnum):
    """Events that metrics are made of."""

    IMPRESSION = "impression"
    PREDICTION = "prediction"
    OUTCOME = "outcome"


ANSWERS: Final = (SourceEvent.IMPRESSION, SourceEvent.PREDICTION)
"""What a model answered; outcomes belong to it."""


class Aggregation(StrEnum):
    """How events become a figure; see the top of this module."""

    MEAN = "mean"
    RATIO = "ratio"
    RATE = "rate"
    QUANTILE = "quantile"


class Direction(StrEnum):
    """Which way is good."""

    HIGHER_IS_BETTER = "higher_is_better"
    LOWER_IS_BETTER = "lower_is_better"


class CappedPer(StrEnum):
    """What a cap bounds."""

    EVENT = "event"
    UNIT_DAY = "unit_day"


@dataclass(frozen=True, slots=True)
class _Fields:
    """Fields of an event that may be named in one place: as a pattern, and in words."""

    pattern: str
    words: str

    def problem(self, field: str, event: SourceEvent, what: str) -> str | None:
        if re.fullmatch(self.pattern, field):
            return None
        return f"{field!r} is no {what} of the event {event}; use {self.words}"


_NUMBERS: Final[Mapping[SourceEvent, _Fields]] = {
    SourceEvent.IMPRESSION: _Fields(
        rf"items|extension\.{_WORD}", "items (the length of the slate) or extension.NAME"
    ),
    SourceEvent.PREDICTION: _Fields(rf"(output|extension)\.{_WORD}", "output.NAME or extension.NAME"),
    SourceEvent.OUTCOME: _Fields("value", "value"),
}

_CONDITIONS: Final[Mapping[SourceEvent, _Fields]] = {
    SourceEvent.IMPRESSION: _Fields(
        rf"slot|role|version|items|extension\.{_WORD}", "slot, role, version, items or extension.NAME"
    ),
    SourceEvent.PREDICTION: _Fields(
        rf"slot|role|version|(output|extension)\.{_WORD}",
        "slot, role, version, output.NAME or extension.NAME",
    ),
    SourceEvent.OUTCOME: _Fields("currency", "currency"),
}

_DIMENSIONS: Final = (
    rf"slot|role|version|versions\.[a-z][a-z0-9_.-]*|variants\.[A-Za-z0-9._-]+"
    rf"|extension\.{_WORD}|segment\.{_NAME}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What must be true of an event's field. Of a field that is missing only ``present: false`` is true.

    Attributes:
        field: Name of the field.
        equals: It is one of these.
        differs_from: It is there and none of these.
        present: It is there: neither missing, null nor an empty list or text.
    """

    __pydantic_config__ = STRICT

    field: OneLine
    equals: Annotated[tuple[Scalar, ...], Field(max_length=50)] = ()
    differs_from: Annotated[tuple[Scalar, ...], Field(max_length=50)] = ()
    present: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Which events count, and how much each.

    Attributes:
        event: The kind of record.
        kinds: Of outcomes: their `Outcome.kind`; at least one.
        field: The number that each counts; None: each counts 1. An event without the number does not count.
        slots: Of answers: only these slots; empty: all.
        where: Conditions that must all hold.
        where_any: Conditions of which one must hold.
        joined: Of outcomes: whether only those count that belong to an answer, within the metric's window.
    """

    __pydantic_config__ = STRICT

    event: SourceEvent
    kinds: Annotated[tuple[KindName, ...], Field(max_length=50)] = ()
    field: OneLine | None = None
    slots: Annotated[tuple[SlotName, ...], Field(max_length=50)] = ()
    where: Annotated[tuple[Condition, ...], Field(max_length=20)] = ()
    where_any: Annotated[tuple[Condition, ...], Field(max_length=20)] = ()
    joined: bool = True

    @property
    def belongs_to_answers(self) -> bool:
        """Whether slot, role and version of its events are known."""
        return self.event in ANSWERS or self.joined


@dataclass(frozen=True, slots=True, kw_only=True)
class Capping:
    """What bounds the weight of extremes.

    Attributes:
        at: The bound, above 0.
        per: Of what: each event's number, or a unit's sum of one day.
    """

    __pydantic_config__ = STRICT

    at: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    per: CappedPer


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """Something that a metric can be split by. It has a bound, because whatever is split by has to be small.

    Attributes:
        field: Of the answer: slot, role, version, versions.SLOT, variants.EXPERIMENT or extension.NAME; of
            the unit: segment.ATTRIBUTE.
        description: What it is, for people.
        values: All values that it has; any other one counts as ``other``. Or:
        maximum_values: So many different ones are expected at most; more are refused.
    """

    __pydantic_config__ = STRICT

    field: OneLine
    description: OneLine
    values: Annotated[tuple[OneLine, ...], Field(max_length=MAXIMUM_DIMENSION_VALUES)] = ()
    maximum_values: Annotated[int, Field(ge=1, le=MAXIMUM_DIMENSION_VALUES)] | None = None

    def __post_init__(self) -> None:
        for path, problem in self.problems():
            raise InvalidInputError(path, problem)

    def problems(self) -> Iterator[tuple[str, str]]:
        """What its fields together get wrong: path and problem."""
        if not re.fullmatch(_DIMENSIONS, self.field):
            yield (
                "field",
                f"{self.field!r} is nothing to split by; use slot, role, version, versions.SLOT, "
                "variants.EXPERIMENT, extension.NAME or segment.ATTRIBUTE",
            )
        if (self.maximum_values is None) == (not self.values):
            yield (
                "maximum_values",
                "the dimension needs one bound: list its values, or say maximum_values, not both",
            )

    @property
    def of_unit(self) -> bool:
        """Whether it is about the unit, and not about an answer."""
        return self.field.startswith("segment.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDefinition:
    """One metric.

    Attributes:
        owner: The team that answers for its meaning.
        description: What it says, for people.
        unit: Of the figure, such as ``share``, ``plays`` or ``ms``.
        direction: Which way is good.
        aggregation: How events become a figure.
        of: What is counted.
        per: What it is counted against; only a quantile has none.
        quantile: Which one, for a quantile.
        window_hours: How long after an answer an outcome still belongs to it.
        capping: What bounds extremes; None: nothing does.
        minimum_sample: Units below which the figure is inconclusive.
    """

    __pydantic_config__ = STRICT

    owner: OneLine
    description: OneLine
    unit: OneLine
    direction: Direction
    aggregation: Aggregation
    of: Source
    per: Source | None = None
    quantile: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    window_hours: Annotated[float, Field(gt=0.0, le=MAXIMUM_WINDOW_HOURS)] = 24.0
    capping: Capping | None = None
    minimum_sample: Annotated[int, Field(ge=2, le=1_000_000_000)] = 100

    def __post_init__(self) -> None:
        for path, problem in self._problems():
            raise InvalidInputError(path, problem)

    @property
    def sources(self) -> tuple[Source, ...]:
        """``of``, and ``per`` where there is one."""
        return (self.of,) if self.per is None else (self.of, self.per)

    @property
    def belongs_to_answers(self) -> bool:
        """Whether it can be split by what is known of answers."""
        return all(source.belongs_to_answers for source in self.sources)

    @property
    def joins_outcomes(self) -> bool:
        """Whether outcomes are joined to answers for it."""
        return any(source.event is SourceEvent.OUTCOME and source.joined for source in self.sources)

    def _problems(self) -> Iterator[tuple[str, str]]:
        for name, source in (("of", self.of), ("per", self.per)):
            if source is not None:
                for path, problem in _source_problems(source):
                    yield f"{name}.{path}", problem
        quantile = self.aggregation is Aggregation.QUANTILE
        if quantile != (self.quantile is not None):
            yield "quantile", "must be there for the aggregation 'quantile', and for no other"
        if self.per is None and not quantile:
            yield "per", f"is missing: a {self.aggregation} needs what it is counted against"
        if quantile:
            if self.per is not None:
                yield "per", "has no meaning for a quantile; leave it out"
            if self.of.field is None:
                yield "of.field", "is missing: a quantile is one of a number"
        if self.aggregation is Aggregation.RATE:
            yield from self._rate_problems()
        if self.aggregation is Aggregation.MEAN and self.per is not None:
            if self.per.event not in ANSWERS:
                yield "per.event", "must be impression or prediction: whom the mean is over"
            if self.per.field is not None:
                yield "per.field", "has no meaning for a mean: every unit counts once; leave it out"
        if self.capping is not None and (self.aggregation in (Aggregation.RATE, Aggregation.QUANTILE)):
            yield "capping", f"has no meaning for a {self.aggregation}; leave it out"

    def _rate_problems(self) -> Iterator[tuple[str, str]]:
        if self.per is None:
            return
        if self.per.event not in ANSWERS:
            yield "per.event", "must be impression or prediction: a rate is a share of answers"
        for name, source in (("of", self.of), ("per", self.per)):
            if source.field is not None:
                yield f"{name}.field", "has no meaning for a rate: an answer counts 0 or 1; leave it out"
        if self.of.event is SourceEvent.OUTCOME:
            if self.per.event is not SourceEvent.IMPRESSION:
                yield "per.event", "must be impression: outcomes belong to impressions"
            if not self.of.joined:
                yield "of.joined", "must be true: a rate asks whether an outcome belongs to the answer"
        elif self.of.event is not self.per.event:
            yield "of.event", f"must be {self.per.event} as in per, or outcome"
        elif not (self.of.where or self.of.where_any):
            yield "of.where", "is missing: without a condition every answer counts"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsFile:
    """A `metrics.yaml`.

    Attributes:
        schema: The format.
        dimensions: What metrics can be split by, by name.
        metrics: The metrics, by name.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.metrics.v1"] = METRICS_SCHEMA
    dimensions: Annotated[Mapping[Name, Dimension], Field(max_length=50)] = field(default_factory=dict)
    metrics: Annotated[Mapping[Name, MetricDefinition], Field(max_length=MAXIMUM_METRICS)] = field(
        default_factory=dict
    )


def _source_problems(source: Source) -> Iterator[tuple[str, str]]:
    outcome = source.event is SourceEvent.OUTCOME
    if outcome and not source.kinds:
        yield "kinds", "is missing: say which outcomes, for example [click]"
    if not outcome and source.kinds:
        yield "kinds", f"only outcomes have kinds, not the event {source.event}; leave it out"
    if outcome and source.slots and not source.joined:
        yield "slots", "an outcome that is not joined has no slot; leave it out"
    if not outcome and not source.joined:
        yield "joined", f"only outcomes are joined, not the event {source.event}; leave it out"
    if source.field is not None:
        problem = _NUMBERS[source.event].problem(source.field, source.event, "number")
        if problem is not None:
            yield "field", problem
    for name, conditions in (("where", source.where), ("where_any", source.where_any)):
        for number, condition in enumerate(conditions):
            path = f"{name}.{number}"
            problem = _CONDITIONS[source.event].problem(condition.field, source.event, "field")
            if problem is not None:
                yield f"{path}.field", problem
            said = (bool(condition.equals), bool(condition.differs_from), condition.present is not None)
            if sum(said) != 1:
                yield path, "needs exactly one of equals, differs_from and present"
