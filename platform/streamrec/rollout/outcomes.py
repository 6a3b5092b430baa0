"""What users do under each version: the outcome metric by arm, out of the event log.

Units are compared as they were assigned, whoever answered them (intent to treat): a challenger that fails
and is stood in for by the champion cannot lose its own unlucky users that way. The arm of a unit follows
from its bucket alone, as `streamrec.contracts.traffic.assigned` has it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import pyarrow as pa

from streamrec.contracts.errors import InvalidInputError, NotFoundError
from streamrec.contracts.metrics.definitions import Aggregation, Dimension, Direction, MetricsFile
from streamrec.contracts.progress import SilentProgress
from streamrec.contracts.rollouts.evidence import UnitSums
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.units import bucket
from streamrec.metrics.catalogue import MetricCatalogue
from streamrec.metrics.computation import MetricSources, compute
from streamrec.rollout.driving.traffic_seen import seen_in_log
from streamrec.rollout.traffic_needs import SeenTraffic

LOOK_EVERY: Final = timedelta(minutes=1)
"""Between two looks at the log for a step in force: reading a day of it takes seconds."""

LOOK_AGAIN_EVERY: Final = timedelta(minutes=10)
"""For a step that has ended: outcomes of its answers still come in."""

MAXIMUM_KEPT: Final = 1_024
"""Steps whose figures are kept; beyond, the oldest are computed anew."""

_ARM: Final = "rollout_arm"


@dataclass(frozen=True, slots=True)
class Arms:
    """How units are assigned under one step.

    Attributes:
        salt: Of the rollout.
        weight_bp: Share of the challenger.
        holdback_salt: Of the holdback; None where there is none.
        holdback_bp: Its share.
    """

    salt: str
    weight_bp: int
    holdback_salt: str | None = None
    holdback_bp: int = 0

    def of(self, unit: str) -> ServingRole:
        """The arm of a unit; the same as `streamrec.contracts.traffic.assigned`."""
        if self.holdback_salt is not None and bucket(self.holdback_salt, unit) < self.holdback_bp:
            return ServingRole.HOLDBACK
        if bucket(self.salt, unit) < self.weight_bp:
            return ServingRole.CHALLENGER
        return ServingRole.CHAMPION


class ArmSegments:
    """Implements `streamrec.metrics.estimates.UnitSegments`: its one attribute is the arm."""

    def __init__(self, arms: Arms) -> None:
        self._arms = arms

    def values(self, attribute: str, units: pa.Array) -> pa.Array:
        """See `UnitSegments.values`."""
        if attribute != _ARM:
            raise InvalidInputError("by", f"only {_ARM!r} is known of units here, not {attribute!r}")
        return pa.array([self._arms.of(unit).value for unit in units.to_pylist()], pa.string())


@dataclass(frozen=True, slots=True)
class OutcomeQuestion:
    """What is asked of the log.

    Attributes:
        metric: Its name.
        arms: Of the step.
        start: When the step began.
        end: When it ended; None while it is in force.
    """

    metric: str
    arms: Arms
    start: datetime
    end: datetime | None


ByArm = Mapping[ServingRole, UnitSums]
"""Sums over the units of each arm that occurs."""


class Outcomes(Protocol):
    """The outcomes that the log holds. Safe to use from several threads."""

    def check(self, metric: str) -> None:
        """Refuse a metric that no rollout can be decided by.

        Raises:
            InvalidInputError: There is none of that name, it is a quantile, or less of it is better.
        """
        ...

    def by_arm(self, question: OutcomeQuestion, now: datetime) -> ByArm | None:
        """Sums over units by arm; may be as old as `LOOK_EVERY`. None where they are not computed yet.

        Raises:
            StreamRecError: The log cannot be read, or the metric cannot be computed.
        """
        ...

    def seen(self, slot: str, metric: str | None, now: datetime) -> SeenTraffic:
        """What a slot got in the last finished days, and what the metric was then.

        Raises:
            StreamRecError: The log cannot be read, or the metric cannot be computed.
        """
        ...


class EventOutcomes:
    """Implements `Outcomes` by `streamrec.metrics`."""

    def __init__(
        self, catalogue: MetricCatalogue, sources: MetricSources, executor: Executor | None = None
    ) -> None:
        """Nothing is read yet.

        Args:
            catalogue: What metrics mean.
            sources: The event log; what is known of units is replaced by their arms.
            executor: Where the log is read, so that nobody waits for it; None: whoever asks reads it.
        """
        self._catalogue, self._sources, self._executor = catalogue, sources, executor
        self._lock = threading.Lock()
        self._known: dict[OutcomeQuestion, _Known] = {}

    def check(self, metric: str) -> None:
        """See `Outcomes.check`."""
        try:
            definition = self._catalogue.metric(metric).definition
        except NotFoundError as error:
            raise InvalidInputError("outcome_metric", str(error)) from error
        if definition.aggregation is Aggregation.QUANTILE:
            raise InvalidInputError(
                "outcome_metric",
                f"{metric} is a quantile, which cannot be compared by sums over users: name a rate, a ratio "
                "or a mean",
            )
        if definition.direction is not Direction.HIGHER_IS_BETTER:
            raise InvalidInputError(
                "outcome_metric",
                f"of {metric} less is better: a rollout compares a metric of which more is better",
            )

    def by_arm(self, question: OutcomeQuestion, now: datetime) -> ByArm | None:
        """See `Outcomes.by_arm`."""
        with self._lock:
            known = self._known.get(question)
            if known is None or (known.is_done and now - known.asked_at >= _every(question)):
                last = None if known is None else known.last
                known = self._known[question] = self._ask(question, now, last)
                while len(self._known) > MAXIMUM_KEPT:
                    del self._known[min(self._known, key=lambda one: self._known[one].asked_at)]
        return known.answer()

    def seen(self, slot: str, metric: str | None, now: datetime) -> SeenTraffic:
        """See `Outcomes.seen`."""
        return seen_in_log(self._catalogue, self._sources, slot, metric, now)

    def _ask(self, question: OutcomeQuestion, now: datetime, last: ByArm | None) -> _Known:
        if self._executor is not None:
            return _Known(now, self._executor.submit(self._compute, question, now), last)
        future: Future[ByArm] = Future()
        try:
            future.set_result(self._compute(question, now))
        except Exception as error:  # noqa: BLE001 - it is raised again where the answer is asked for
            future.set_exception(error)
        return _Known(now, future, last)

    def _compute(self, question: OutcomeQuestion, now: datetime) -> ByArm:
        end = now if question.end is None else min(question.end, now)
        if end <= question.start:
            return {}
        arm = Dimension(
            field=f"segment.{_ARM}",
            description="The arm of a rollout that a unit is assigned to",
            values=tuple(role.value for role in ServingRole),
        )
        # A catalogue that knows the arms of this question, and sources that tell them.
        split = MetricCatalogue({"the rollout": MetricsFile(dimensions={_ARM: arm})})
        sources = MetricSources(
            self._sources.events, ArmSegments(question.arms), self._sources.kept, self._sources.is_erased
        )
        metric = self._catalogue.metric(question.metric)
        figures = compute(
            metric,
            split,
            sources,
            start=question.start,
            end=end,
            now=now,
            progress=SilentProgress(),
            by=(_ARM,),
        )
        found = {}
        for figure in figures.figures:
            moments = figure.statistics.moments
            found[ServingRole(figure.cell[0])] = UnitSums(
                moments.units, moments.x, moments.y, moments.xx, moments.xy, moments.yy
            )
        return found


@dataclass(frozen=True)
class _Known:
    asked_at: datetime
    future: Future[ByArm]
    last: ByArm | None

    @property
    def is_done(self) -> bool:
        return self.future.done()

    def answer(self) -> ByArm | None:
        return self.future.result() if self.future.done() else self.last


def _every(question: OutcomeQuestion) -> timedelta:
    return LOOK_EVERY if question.end is None else LOOK_AGAIN_EVERY


class MemoryOutcomes:
    """Implements `Outcomes` by what it was given."""

    def __init__(
        self,
        known: Mapping[str, Mapping[int, ByArm]] | None = None,
        traffic: Mapping[str, SeenTraffic] | None = None,
    ) -> None:
        """Answer by metric, then by the share of the challenger in basis points; and of traffic by slot."""
        self.known, self.traffic = dict(known or {}), dict(traffic or {})

    def check(self, metric: str) -> None:
        """See `Outcomes.check`."""
        if metric not in self.known:
            raise InvalidInputError("outcome_metric", f"there is no metric {metric!r}")

    def by_arm(self, question: OutcomeQuestion, now: datetime) -> ByArm | None:
        """See `Outcomes.by_arm`."""
        del now
        return self.known.get(question.metric, {}).get(question.arms.weight_bp)

    def seen(self, slot: str, metric: str | None, now: datetime) -> SeenTraffic:
        """See `Outcomes.seen`."""
        del now
        return self.traffic.get(slot, SeenTraffic(0.0, 0.0, None, metric))
