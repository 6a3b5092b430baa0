"""In which steps a version gets the traffic of its slot, and how long each may take."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Final

from pydantic import Field

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.json_documents import STRICT
from streamrec.contracts.specification.fields import Confidence, Hours, Share
from streamrec.contracts.units import BASIS_POINTS

_MINUTES_PER_HOUR: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStep:
    """One step.

    Attributes:
        weight_bp: Share of units that get the challenger, in basis points of 10,000.
        minimum_samples: Requests of the challenger without which the step does not end well.
        deadline_hours: A step that has not ended by then ends the rollout.
    """

    __pydantic_config__ = STRICT

    weight_bp: Annotated[int, Field(ge=1, le=BASIS_POINTS)]
    minimum_samples: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1_000
    deadline_hours: Hours = 72.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsoluteLimits:
    """What is harm where there is nobody to compare with: in an empty slot, and in a watch without holdback.

    Attributes:
        wrong_share: Largest share of requests that fail, are malformed or late.
        slow_share: Largest share of answers that take longer than the latency limit of the specification.
        degraded_share: Largest share of answers that are less than they should be.
    """

    __pydantic_config__ = STRICT

    wrong_share: Share = 0.02
    slow_share: Share = 0.05
    degraded_share: Share = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeCriterion:
    """What must be shown of the outcome metric before everybody gets the version.

    Attributes:
        margin: How much worse than the champion is still no harm, as a share of the champion's value.
        confidence: Of the bound that decides, one-sided.
        power: Chance of showing it where both are equal; with it, the samples that a plan needs are computed.
    """

    __pydantic_config__ = STRICT

    margin: Annotated[float, Field(gt=0.0, lt=1.0, allow_inf_nan=False)] = 0.02
    confidence: Confidence = 0.975
    power: Annotated[float, Field(ge=0.5, lt=1.0, allow_inf_nan=False)] = 0.8


DEFAULT_STEPS: Final = tuple(RolloutStep(weight_bp=weight) for weight in (100, 500, 2_500, 5_000, 10_000))


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPlan:
    """All steps, in order.

    Attributes:
        steps: Each with a larger share than the one before; the last with everything.
        shadow_hours: How long the version is asked beside the champion before anybody sees an answer of it.
        minimum_step_minutes: No step ends sooner.
        deadline_hours: For all of it, the shadow included.
        requests_per_hour: What the slot is expected to get; with it, a plan whose samples cannot come by
            its deadlines is refused. None: not known.
        watch_hours: How long it is watched after it has become champion; harm still rolls it back.
        holdback_bp: Share that keeps the version of before for a long comparison, from the first step on.
        holdback_days: How long after the rollout has ended.
        limits: What is harm without anybody to compare with.
        outcome: What must be shown of the outcome metric before the last step; None: harm alone decides.
        false_rollbacks: Share of rollouts of equal versions that may be rolled back, over all criteria and
            looks together.
    """

    __pydantic_config__ = STRICT

    steps: Annotated[tuple[RolloutStep, ...], Field(min_length=1, max_length=20)] = DEFAULT_STEPS
    shadow_hours: Annotated[float, Field(ge=0.0, le=24.0 * 31.0, allow_inf_nan=False)] = 0.0
    minimum_step_minutes: Annotated[float, Field(ge=0.0, le=60.0 * 24.0 * 31.0, allow_inf_nan=False)] = 10.0
    deadline_hours: Hours = 24.0 * 14.0
    requests_per_hour: Annotated[float, Field(gt=0.0, le=1e12, allow_inf_nan=False)] | None = None
    watch_hours: Annotated[float, Field(ge=0.0, le=24.0 * 31.0, allow_inf_nan=False)] = 24.0
    holdback_bp: Annotated[int, Field(ge=0, le=BASIS_POINTS // 2)] = 0
    holdback_days: Annotated[float, Field(gt=0.0, le=366.0, allow_inf_nan=False)] = 14.0
    limits: AbsoluteLimits = field(default_factory=AbsoluteLimits)
    outcome: OutcomeCriterion | None = None
    false_rollbacks: Annotated[float, Field(gt=0.0, le=0.1, allow_inf_nan=False)] = 0.01

    def __post_init__(self) -> None:
        for number, (before, step) in enumerate(pairwise(self.steps), start=1):
            if step.weight_bp <= before.weight_bp:
                raise InvalidInputError(
                    f"steps.{number}.weight_bp",
                    f"must be more than the {before.weight_bp} of the step before: every step grows",
                )
        if self.steps[-1].weight_bp != BASIS_POINTS:
            raise InvalidInputError(
                f"steps.{len(self.steps) - 1}.weight_bp",
                f"must be {BASIS_POINTS}: a plan whose last step is smaller can never end",
            )
        if self.outcome is not None and len(self.steps) == 1:
            raise InvalidInputError(
                "outcome",
                "can never be decided by a plan of one step: everybody gets the version, and nobody is "
                "left to compare with: add a smaller step before it, or drop the outcome",
            )
        for number, step in enumerate(self.steps):
            self._check_time(number, step)
        least_hours = self.shadow_hours + sum(self.least_hours(step) for step in self.steps)
        if least_hours > self.deadline_hours:
            raise InvalidInputError(
                "deadline_hours",
                f"must be at least {least_hours:,.1f}: the shadow and the steps cannot be done sooner",
            )

    def least_hours(self, step: RolloutStep) -> float:
        """The soonest that a step can end: its minimum, or when its samples can have come."""
        least = self.minimum_step_minutes / _MINUTES_PER_HOUR
        if self.requests_per_hour is None:
            return least
        return max(least, step.minimum_samples / (self.requests_per_hour * self.challenger_share(step)))

    def challenger_share(self, step: RolloutStep) -> float:
        """Share of units that the challenger gets: what is held back comes off it, evenly over buckets."""
        return step.weight_bp / BASIS_POINTS * (1.0 - self.holdback_bp / BASIS_POINTS)

    def _check_time(self, number: int, step: RolloutStep) -> None:
        least = self.least_hours(step)
        if least <= step.deadline_hours:
            return
        if least <= self.minimum_step_minutes / _MINUTES_PER_HOUR:
            problem = f"must be at least {least:,.1f}: no step ends before minimum_step_minutes"
        else:
            problem = (
                f"must be at least {least:,.1f}: {step.minimum_samples} samples do not come sooner at "
                f"{self.requests_per_hour:g} requests an hour and {step.weight_bp} basis points; "
                "ask for fewer samples, give it longer, or begin with a larger share"
            )
        raise InvalidInputError(f"steps.{number}.deadline_hours", problem)
