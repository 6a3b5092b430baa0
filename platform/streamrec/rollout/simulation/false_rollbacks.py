"""Whole rollouts of a challenger that is the champion's equal: how often are they rolled back all the same?

A rollout is drawn phase by phase. The evidence for harm is computed at every look at once, by the function
that an analysis uses for one look; and the real analysis and the real step drive the rollout: at some looks
of each phase, at its end, and at any look at which the evidence has reached its threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.rollouts.evidence import EarlierCounts, SlotEvidence, StepEvidence, UnitSums
from streamrec.contracts.rollouts.state import RolloutPhase, RolloutState
from streamrec.contracts.rollouts.tallies import Answers
from streamrec.contracts.specification.rollout_plan import RolloutPlan, RolloutStep
from streamrec.contracts.units import BASIS_POINTS
from streamrec.rollout.analysis import ComparedWith, Criterion, analyse
from streamrec.rollout.analysis.budget import PARTS, phases_of, threshold_of
from streamrec.rollout.analysis.evidence_of_harm import ROWS, log_evidence_beside, log_evidence_over_limit
from streamrec.rollout.analysis.windows import ASKED, COUNTS, WRONG, Windows
from streamrec.rollout.simulation.made_rollouts import (
    BEGAN,
    dyadic_ages,
    made_evidence,
    made_rollout,
)
from streamrec.rollout.simulation.made_traffic import (
    Rates,
    UserKinds,
    added,
    answers_of,
    clicking_users,
    drawn_counts,
)
from streamrec.rollout.step import decide

LOOKS: Final = 120
"""Looks in each phase at which all evidence is computed: half of them soon after it began."""

_CHECKPOINTS: Final = (0.5,)
"""Where within a phase, as a share of its looks, the real analysis looks beside its end."""

_PHASE_HOURS: Final = 2.0
_LEAST_HOURS: Final = 1.95
"""How long a phase takes, and at least has to: it ends at its last look and at no other."""

_NEVER: Final = 10**12
"""Number of a moment that has not come yet: the weight of a test that begins with it is nothing."""


@dataclass(frozen=True, slots=True)
class World:
    """What the rollouts of one cell have in common.

    Attributes:
        plan: Of the rollout.
        requests: Of each phase: the shadow, the steps, the watch.
        rates: Of both versions.
        click_rate: Of both.
        shadowed: Share of requests that the shadow is asked too.
        bursts: Errors of these users come together: sums of a user's requests and wrong ones; None: errors
            are independent.
    """

    plan: RolloutPlan
    requests: tuple[int, ...]
    rates: Rates
    click_rate: float = 0.05
    shadowed: float = 0.1
    bursts: UserKinds | None = None


def worlds() -> tuple[World, ...]:
    """The cells: with a holdback and without, with errors that are common and rare."""
    steps = tuple(
        RolloutStep(weight_bp=weight, minimum_samples=1_000) for weight in (100, 500, 2_500, 5_000, 10_000)
    )
    requests = (20_000, 120_000, 60_000, 40_000, 200_000, 20_000, 300_000)
    return tuple(
        World(
            RolloutPlan(
                steps=steps,
                shadow_hours=_LEAST_HOURS,
                minimum_step_minutes=_LEAST_HOURS * 60.0,
                watch_hours=_LEAST_HOURS,
                holdback_bp=holdback,
            ),
            requests,
            rates,
        )
        for holdback in (0, 200)
        for rates in (Rates(), Rates(wrong=0.001, slow=0.012, degraded=0.03))
    )


@dataclass(frozen=True, slots=True)
class Rollout:
    """How one ended.

    Attributes:
        harm: The criteria that rolled it back; empty where none did.
        phase: Where that was; `RolloutPhase.COMPLETED` where it went through.
    """

    harm: tuple[str, ...]
    phase: RolloutPhase


@dataclass(slots=True)
class _Phase:
    """What was counted in one phase, at every look: shape (looks, COUNTS) for each arm."""

    weight_bp: int
    is_shadow: bool
    is_watch: bool
    planned: float
    challenger: NDArray[np.float64]
    champion: NDArray[np.float64]
    holdback: NDArray[np.float64]
    outcomes: list[tuple[int, UnitSums, UnitSums]] = field(default_factory=list)

    @property
    def reference(self) -> NDArray[np.float64]:
        if not self.is_shadow:
            return self.holdback if self.is_watch else self.champion + self.holdback
        return self.champion

    def entry(self, look: int) -> StepEvidence:
        """As a document, at one look."""
        seen = [one for one in self.outcomes if one[0] <= look]
        own, other = (seen[-1][1], seen[-1][2]) if seen else (None, None)
        challenger, champion, holdback = (
            answers_of(arm[look]) for arm in (self.challenger, self.champion, self.holdback)
        )
        if self.is_shadow:
            return StepEvidence(weight_bp=0, shadow=challenger, champion=champion)
        if self.is_watch:
            return StepEvidence(
                weight_bp=0,
                champion=challenger,
                holdback=holdback,
                outcome_champion=own,
                outcome_holdback=other,
            )
        return StepEvidence(
            weight_bp=self.weight_bp,
            challenger=challenger,
            champion=champion,
            holdback=holdback,
            outcome_challenger=own,
            outcome_champion=other,
        )

    def earlier(self, look: int) -> tuple[EarlierCounts, ...]:
        """The moments that are kept at a look."""
        found = []
        for age in reversed(dyadic_ages(len(self.challenger))):
            if look - age < 0:
                continue
            at = look - age
            arms = [answers_of(arm[at]) for arm in (self.challenger, self.champion, self.holdback)]
            named = ("shadow", "champion") if self.is_shadow else ("challenger", "champion", "holdback")
            if self.is_watch:
                arms, named = [arms[0], arms[2]], ("champion", "holdback")
            counted: dict[str, Answers] = dict(zip(named, arms, strict=False))
            found.append(EarlierCounts(number=at + 1, **counted))
        return tuple(found)


def one_rollout(world: World, rng: np.random.Generator) -> Rollout:
    """Draw a rollout of equal versions and take it through the real analysis and step.

    Raises:
        RuntimeError: The analysis and the evidence that was computed at once do not agree.
    """
    plan, done = world.plan, list[_Phase]()
    now = BEGAN
    state = decide(
        made_rollout(plan),
        evidence := made_evidence(now, SlotEvidence()),
        analyse(made_rollout(plan), evidence, now),
        now,
    ).state
    for requests in world.requests:
        phase = _drawn(world, state, requests, rng)
        done.append(phase)
        looks = len(phase.challenger)
        crossed = _first_harm(plan, done)
        checked = {round(share * looks) for share in _CHECKPOINTS} | {looks - 1}
        if crossed is not None:
            checked = {look for look in checked if look < crossed} | {crossed}
        for look in sorted(checked):
            now = state.phase_began_at + timedelta(hours=_PHASE_HOURS * (look + 1) / looks)
            seen = made_evidence(now, _slot(done, look))
            found = analyse(state, seen, now)
            harm = tuple(reason.code for reason in found.reasons if reason.code.startswith("harm_"))
            by_outcome = harm == ("harm_outcome",)
            if bool(harm) != (look == crossed) and not by_outcome:
                raise RuntimeError(
                    f"the analysis found {harm or 'nothing'} at look {look} of {state.phase}, and the "
                    f"evidence computed at once crossed at {crossed}"
                )
            decision = decide(state, seen, found, now)
            if harm:
                if decision.state.phase is not RolloutPhase.ROLLED_BACK:
                    raise RuntimeError(f"harm in {state.phase} did not roll back: {decision.reasons}")
                return Rollout(harm, state.phase)
            if look == looks - 1:
                if decision.kind is None:
                    raise RuntimeError(f"{state.phase} did not end: {decision.reasons}")
                state = decision.state
            elif decision.kind is not None:
                raise RuntimeError(f"{state.phase} ended at look {look}, before its time")
    if state.phase is not RolloutPhase.COMPLETED:
        raise RuntimeError(f"the rollout is not over after all phases, but in {state.phase}")
    return Rollout((), state.phase)


def look_times(requests: int, looks: int) -> NDArray[np.int64]:
    """Requests at each look: every so often, and more often soon after the beginning."""
    often = np.geomspace(10, requests, looks // 2)
    evenly = np.linspace(requests / looks, requests, looks - looks // 2)
    return np.unique(np.concatenate((often, evenly)).astype(np.int64))


def _drawn(world: World, state: RolloutState, requests: int, rng: np.random.Generator) -> _Phase:
    held = world.plan.holdback_bp / BASIS_POINTS
    is_shadow, is_watch = state.phase is RolloutPhase.SHADOW, state.phase is RolloutPhase.WATCH
    share = 1.0 if is_watch else state.weight_bp / BASIS_POINTS
    new = np.diff(look_times(requests, LOOKS), prepend=0)
    kept = rng.binomial(new, held)
    own = rng.binomial(new - kept, share)
    rest = new - kept - own
    if is_shadow:
        own, rest, kept = rng.binomial(new, world.shadowed), new, np.zeros_like(new)
    challenger, champion, holdback = (_arm(world, rng, asked) for asked in (own, rest, kept))
    planned = float("nan") if is_shadow else (1.0 - held) * share
    phase = _Phase(state.weight_bp, is_shadow, is_watch, planned, challenger, champion, holdback)
    if not is_shadow:
        _add_outcomes(world, phase, rng)
    return phase


def _arm(world: World, rng: np.random.Generator, asked: NDArray[np.int64]) -> NDArray[np.float64]:
    if world.bursts is None:
        return drawn_counts(rng, asked, world.rates)
    users = rng.poisson(asked / world.bursts.requests_each)
    drawn = rng.multinomial(users, world.bursts.shares).astype(np.float64)
    found = np.zeros((len(asked), COUNTS))
    found[:, ASKED], found[:, WRONG] = drawn @ world.bursts.requests, drawn @ world.bursts.clicks
    return found.cumsum(axis=0)


def _add_outcomes(world: World, phase: _Phase, rng: np.random.Generator) -> None:
    """Outcomes, which are looked at less often."""
    kinds = clicking_users(world.click_rate)
    looks = len(phase.challenger)
    own, other, before = UnitSums(), UnitSums(), (0.0, 0.0)
    for look in sorted({round(share * looks) for share in _CHECKPOINTS} | {looks - 1}):
        asked = (float(phase.challenger[look, ASKED]), float(phase.reference[look, ASKED]))
        users = [int((new - old) / kinds.requests_each) for new, old in zip(asked, before, strict=True)]
        own, other = added(own, kinds.sums(rng, users[0])), added(other, kinds.sums(rng, users[1]))
        phase.outcomes.append((look, own, other))
        before = asked


def _slot(done: Sequence[_Phase], look: int) -> SlotEvidence:
    last = done[-1]
    entries = [one.entry(len(one.challenger) - 1) for one in done[:-1]]
    if last.is_watch:
        return SlotEvidence(tuple(entries), last.entry(look), last.earlier(look))
    return SlotEvidence((*entries, last.entry(look)), None, last.earlier(look))


def _first_harm(plan: RolloutPlan, done: Sequence[_Phase]) -> int | None:
    """The first look of the last phase at which a criterion of answers has reached its threshold."""
    looks = len(done[-1].challenger)
    crossed = np.zeros(looks, dtype=np.bool_)
    compared = [one for one in done if one.is_shadow or one.planned < 1.0]
    limited = [one for one in done if not plan.holdback_bp and not one.is_shadow and one.planned == 1.0]
    for kind, phases in ((ComparedWith.CHAMPION, compared), (ComparedWith.LIMIT, limited)):
        if not phases or phases[-1] is not done[-1]:
            continue
        windows = _windows(phases)
        for criterion in ROWS:
            crossed |= _log_evidence(plan, criterion, kind, windows) >= np.log(
                threshold_of(plan, 1, criterion, kind)
            )
    return int(crossed.argmax()) if crossed.any() else None


def _log_evidence(
    plan: RolloutPlan, criterion: Criterion, kind: ComparedWith, windows: Windows
) -> NDArray[np.float64]:
    part, phases = PARTS[criterion, kind], phases_of(plan)
    if kind is ComparedWith.LIMIT:
        return log_evidence_over_limit(criterion, windows, plan.limits, part, phases=phases)
    return log_evidence_beside(criterion, windows, part, phases=phases)


def _windows(phases: Sequence[_Phase]) -> Windows:
    """All looks of the last phase at once: arrays of the shape (looks, COUNTS, windows)."""
    last = phases[-1]
    looks = len(last.challenger)

    def every(arms: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        seen = np.empty((looks, COUNTS, len(arms)))
        for index, arm in enumerate(arms):
            seen[:, :, index] = arm if index == len(arms) - 1 else arm[-1]
        return seen

    ages = np.array(dyadic_ages(looks))
    at = np.arange(looks)[:, None] - ages
    came = at >= 0
    after = [
        np.where(came[:, :, None], arm[:, None, :] - arm[np.maximum(at, 0)], 0.0).swapaxes(1, 2)
        for arm in (last.challenger, last.reference)
    ]
    main = next((index for index, one in enumerate(phases) if not one.is_shadow), len(phases))
    return Windows(
        challenger=every([one.challenger for one in phases]),
        reference=every([one.reference for one in phases]),
        planned=np.array([one.planned for one in phases]),
        later_challenger=after[0],
        later_reference=after[1],
        later_planned=np.full(len(ages), last.planned),
        later_numbers=np.where(came, at + 1, _NEVER),
        main=main,
    )
