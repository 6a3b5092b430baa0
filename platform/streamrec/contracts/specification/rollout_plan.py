"""In which steps a version gets the traffic of its slot, and how long each may take."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Final

from pydantic import Field

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.json_documents import STRICT
from streamrec.contracts.specification.fields import Hours
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
        holdback_bp: Share that keeps the version of before for a long comparison.
    """

    __pydantic_config__ = STRICT

    steps: Annotated[tuple[RolloutStep, ...], Field(min_length=1, max_length=20)] = DEFAULT_STEPS
    shadow_hours: Annotated[float, Field(ge=0.0, le=24.0 * 31.0, allow_inf_nan=False)] = 0.0
    minimum_step_minutes: Annotated[float, Field(ge=0.0, le=60.0 * 24.0 * 31.0, allow_inf_nan=False)] = 10.0
    deadline_hours: Hours = 24.0 * 14.0
    requests_per_hour: Annotated[float, Field(gt=0.0, le=1e12, allow_inf_nan=False)] | None = None
    holdback_bp: Annotated[int, Field(ge=0, le=BASIS_POINTS // 2)] = 0

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
        share = min(step.weight_bp, BASIS_POINTS - self.holdback_bp) / BASIS_POINTS
        return max(least, step.minimum_samples / (self.requests_per_hour * share))

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
