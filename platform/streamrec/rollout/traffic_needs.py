"""What a plan needs of its slot's traffic, and whether it can be decided by its deadlines. Pure.

The outcome decides at a fixed amount of information (`streamrec.stats.non_inferiority`): comparisons within
steps, pooled with the weights ``a b / (a + b)`` of what each arm got. With ``n`` samples an arm at equal
shares that is ``n / 2``; a step that gives the challenger the share ``s`` of ``r`` samples a day adds
``r s (1 - s)`` a day. The steps before the last comparing one end as soon as they can; that one lasts until
the rest has come.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.json_documents import STRICT, document_json
from streamrec.contracts.results import Reason, Verdict
from streamrec.contracts.slots import SlotName
from streamrec.contracts.specification.rollout_plan import OutcomeCriterion, RolloutPlan, RolloutStep
from streamrec.stats.clustered_ratios import RatioMoments
from streamrec.stats.sample_sizes import samples_per_arm, smaller_arm

PLAN_NEEDS_SCHEMA: Final = "streamrec.plan_needs.v1"

_HOURS_PER_DAY: Final = 24.0
_MINUTES_PER_DAY: Final = 1_440.0

_Amount = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class SeenTraffic:
    """What the log says of a slot.

    Attributes:
        requests_per_day: Requests that the slot takes part in.
        days: Length of the time that was looked at.
        moments: The outcome metric over that time: its statistics over users; None where no outcome is
            compared, or the log holds none.
        outcome_metric: Its name; None where no outcome is compared.
    """

    requests_per_day: float
    days: float
    moments: RatioMoments | None = None
    outcome_metric: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNeeds:
    """What one step takes.

    Attributes:
        weight_bp: Share of the challenger.
        samples: Requests of the challenger without which the step does not end well.
        samples_per_day: How many come.
        days: How long that takes at least; None where none come.
        deadline_days: How long it may take.
    """

    __pydantic_config__ = STRICT

    weight_bp: int
    samples: int
    samples_per_day: _Amount
    days: _Amount | None
    deadline_days: _Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeNeeds:
    """What it takes to show that the outcome is not worse by more than the margin.

    Attributes:
        metric: Its name.
        value: In the log, of what serves.
        margin, confidence, power: Of the plan.
        samples_per_arm: Of what the metric is over, for each of two equal arms.
        weight_bp: Share of the challenger in the step that decides.
        samples: Of the challenger in that step, where it alone had to show it.
        samples_per_day: How many of them come a day.
        days: How long the step lasts, with what the steps before have shown.
        deadline_days: How long it may last.
        smallest_margin: The smallest margin that this traffic can decide by the deadline; None where
            none below 1 is.
    """

    __pydantic_config__ = STRICT

    metric: str
    value: Annotated[float, Field(allow_inf_nan=False)]
    margin: float
    confidence: float
    power: float
    samples_per_arm: int
    weight_bp: int
    samples: int
    samples_per_day: _Amount
    days: _Amount
    deadline_days: _Amount
    smallest_margin: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanNeeds:
    """What a plan takes in one slot.

    Attributes:
        schema: The format.
        slot: Which.
        verdict: ``passed``: it can be decided by its deadlines; ``failed``: it cannot; ``inconclusive``: the
            log does not say.
        reasons: Why; empty where it passed.
        requests_per_day: Of the slot.
        seen_days: Length of the log that says so.
        steps: One each, in order.
        outcome: None where the plan asks for no outcome, or the log does not say.
        days: From the start until the version is champion, at least; None where it never is.
        deadline_days: How long the whole may take.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.plan_needs.v1"] = field(default=PLAN_NEEDS_SCHEMA, kw_only=True)
    slot: SlotName
    verdict: Verdict
    reasons: tuple[Reason, ...]
    requests_per_day: _Amount
    seen_days: _Amount
    steps: tuple[StepNeeds, ...]
    outcome: OutcomeNeeds | None
    days: _Amount | None
    deadline_days: _Amount

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return document_json(self)

    def in_words(self) -> tuple[str, ...]:
        """One line for the outcome and one for the whole, for people."""
        return tuple(self._lines())

    def _lines(self) -> Iterator[str]:
        if self.outcome is not None:
            yield f"{_takes(self.outcome)}, of {_days(self.outcome.deadline_days, floor_it=True)} at most"
        if self.days is not None:
            yield (
                f"champion after {_days(self.days)} at the soonest, of "
                f"{_days(self.deadline_days, floor_it=True)} that the plan gives it"
            )


def needs(plan: RolloutPlan, slot: str, seen: SeenTraffic) -> PlanNeeds:
    """Say what a plan needs in a slot, and whether its traffic can decide it.

    Args:
        plan: As it is to be submitted.
        slot: Which.
        seen: What the log says of it.
    """
    if seen.requests_per_day <= 0.0:
        nothing = Reason(
            "no_traffic",
            f"slots.{slot}",
            f"the log has no finished day with a request of {slot}: whether the plan can be decided is not "
            "known, and a canary without requests holds until its deadline",
        )
        return _needs(plan, slot, seen, (), None, None, Verdict.INCONCLUSIVE, (nothing,))
    steps = tuple(_step_needs(plan, step, seen.requests_per_day) for step in plan.steps)
    problems = list(_late_steps(steps))
    outcome, unknown = _outcome_needs(plan, slot, seen, steps)
    if outcome is not None and outcome.days > outcome.deadline_days:
        problems.append(_cannot_decide(outcome, len(plan.steps) - 2))
    days = _days_to_champion(plan, steps, outcome)
    deadline_days = plan.deadline_hours / _HOURS_PER_DAY
    if not problems and days > deadline_days:
        problems.append(
            Reason(
                "cannot_decide",
                "deadline_hours",
                f"all steps take {_days(days)} at this slot's traffic, and the plan gives them "
                f"{_days(deadline_days, floor_it=True)}: give it longer, ask for fewer samples, or begin "
                "with larger shares",
            )
        )
    verdict = Verdict.FAILED if problems else Verdict.INCONCLUSIVE if unknown else Verdict.PASSED
    return _needs(plan, slot, seen, steps, outcome, days, verdict, (*problems, *unknown))


def check_can_decide(found: PlanNeeds) -> None:
    """Refuse a plan that its traffic cannot decide; what the log does not say refuses nothing.

    Raises:
        InvalidInputError: It cannot; the message says what it would take, and what to change in writing.
    """
    if found.verdict is Verdict.FAILED:
        first = found.reasons[0]
        raise InvalidInputError(f"rollout.{first.path}", first.message)


def _needs(
    plan: RolloutPlan,
    slot: str,
    seen: SeenTraffic,
    steps: tuple[StepNeeds, ...],
    outcome: OutcomeNeeds | None,
    days: float | None,
    verdict: Verdict,
    reasons: tuple[Reason, ...],
) -> PlanNeeds:
    return PlanNeeds(
        slot=slot,
        verdict=verdict,
        reasons=reasons,
        requests_per_day=seen.requests_per_day,
        seen_days=seen.days,
        steps=steps,
        outcome=outcome,
        days=days,
        deadline_days=plan.deadline_hours / _HOURS_PER_DAY,
    )


def _step_needs(plan: RolloutPlan, step: RolloutStep, requests_per_day: float) -> StepNeeds:
    per_day = requests_per_day * plan.challenger_share(step)
    return StepNeeds(
        weight_bp=step.weight_bp,
        samples=step.minimum_samples,
        samples_per_day=per_day,
        days=max(plan.minimum_step_minutes / _MINUTES_PER_DAY, step.minimum_samples / per_day),
        deadline_days=step.deadline_hours / _HOURS_PER_DAY,
    )


def _late_steps(steps: tuple[StepNeeds, ...]) -> Iterator[Reason]:
    for number, step in enumerate(steps):
        if step.days is not None and step.days > step.deadline_days:
            yield Reason(
                "cannot_decide",
                f"steps.{number}.minimum_samples",
                f"{step.samples:,} requests take {_days(step.days)} at {step.weight_bp / 100:g} % of this "
                f"slot, {step.samples_per_day:,.0f} a day, and the step may last "
                f"{_days(step.deadline_days, floor_it=True)}: ask for fewer, give it longer, or begin with a "
                "larger share",
            )


def _outcome_needs(
    plan: RolloutPlan, slot: str, seen: SeenTraffic, steps: tuple[StepNeeds, ...]
) -> tuple[OutcomeNeeds | None, tuple[Reason, ...]]:
    """What the outcome takes, and why that is not known."""
    criterion = plan.outcome
    if criterion is None or seen.outcome_metric is None:
        return None, ()
    moments = seen.moments
    per_arm = (
        None
        if moments is None
        else samples_per_arm(
            moments, criterion.margin, confidence=criterion.confidence, power=criterion.power
        )
    )
    if moments is None or per_arm is None or moments.ratio is None:
        unknown = Reason(
            "outcome_unknown",
            f"slots.{slot}",
            f"the log of the last {seen.days:g} finished days says too little of {seen.outcome_metric}: how "
            "many samples it takes is not known yet",
        )
        return None, (unknown,)
    deciding = plan.steps[-2]
    share, per_day = plan.challenger_share(deciding), moments.y / seen.days
    earlier = sum(
        (step.days or 0.0) * per_day * _information(plan.challenger_share(planned))
        for step, planned in zip(steps[:-2], plan.steps[:-2], strict=True)
    )
    per_day_here = per_day * _information(share)
    days = max(steps[-2].days or 0.0, (per_arm / 2.0 - earlier) / per_day_here)
    deadline_days = deciding.deadline_hours / _HOURS_PER_DAY
    return (
        OutcomeNeeds(
            metric=seen.outcome_metric,
            value=moments.ratio,
            margin=criterion.margin,
            confidence=criterion.confidence,
            power=criterion.power,
            samples_per_arm=per_arm,
            weight_bp=deciding.weight_bp,
            samples=smaller_arm(per_arm, share),
            samples_per_day=per_day * share,
            days=days,
            deadline_days=deadline_days,
            smallest_margin=_smallest_margin(
                criterion, per_arm, 2.0 * (earlier + deadline_days * per_day_here)
            ),
        ),
        (),
    )


def _information(share: float) -> float:
    return share * (1.0 - share)


def _smallest_margin(criterion: OutcomeCriterion, per_arm: int, samples: float) -> float | None:
    """Samples grow with the square of one over the margin; rounded up to a tenth of a percent."""
    margin = ceil(1_000.0 * criterion.margin * (per_arm / samples) ** 0.5) / 1_000.0
    return margin if margin < 1.0 else None


def _cannot_decide(found: OutcomeNeeds, step: int) -> Reason:
    widen = (
        f"widen outcome.margin to {found.smallest_margin:g} or more"
        if found.smallest_margin is not None
        else "no margin can be decided"
    )
    return Reason(
        "cannot_decide",
        "outcome",
        f"{_takes(found)}, and steps.{step} may last {_days(found.deadline_days, floor_it=True)}. "
        f"Drop the outcome from the plan, {widen}, or give the step longer; the plan is kept with who asked",
    )


def _takes(found: OutcomeNeeds) -> str:
    return (
        f"{100 * found.margin:.3g} % off {found.metric} of {found.value:.3g} takes {found.samples_per_arm:,} "
        f"samples an arm (one-sided {100 * (1 - found.confidence):.3g} %, power {100 * found.power:.3g} %); "
        f"at {found.weight_bp / 100:g} % the challenger of this slot gets {found.samples_per_day:,.0f} a "
        f"day: {_days(found.days)}"
    )


def _days_to_champion(plan: RolloutPlan, steps: tuple[StepNeeds, ...], outcome: OutcomeNeeds | None) -> float:
    days = plan.shadow_hours / _HOURS_PER_DAY + sum(step.days or 0.0 for step in steps)
    return days if outcome is None else days - (steps[-2].days or 0.0) + outcome.days


def _days(days: float, *, floor_it: bool = False) -> str:
    """For people: whole days from two on, else hours or minutes."""
    whole = floor if floor_it else ceil
    if days >= 2.0:
        return f"{whole(days):,} days"
    if days * _HOURS_PER_DAY >= 2.0:
        return f"{whole(days * _HOURS_PER_DAY)} hours"
    return f"{whole(days * _MINUTES_PER_DAY)} minutes"
