"""One look at a rollout: a pure function of its state, the evidence and the time.

    preparing -> shadow -> canary, step by step -> watch -> completed
        |          |         |                      |
        +----------+---------+--> aborted           +--> rolled back
                   +---------+--> rolled back

What may happen at a look, in this order; at most one transition is made:

1. Harm, or a version that may not serve any more, rolls back, also what is paused.
2. What has passed goes on by one step: its samples are there, its least time is over, and the evidence was
   gathered after it began. So a clock that jumps skips nothing. A version becomes champion only where the
   replicas of champions have loaded it.
3. What is over its deadline is aborted. The time that a rollout was paused counts: a pause is no way to keep
   a slot.
4. Everything else waits, and the state says for what.

Where somebody has asked for the promotion (`RolloutState.without_canary`), times and samples are skipped;
loading, harm, refusals, evidence that is missing and a pause are not.

Nothing in here knows how evidence is gathered or how traffic is changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from streamrec.contracts.ledger_entry import EntryKind
from streamrec.contracts.results import MAXIMUM_MESSAGE_CHARACTERS, Reason, Verdict
from streamrec.contracts.rollouts.evidence import RolloutEvidence
from streamrec.contracts.rollouts.state import RolloutPhase, RolloutState
from streamrec.rollout.analysis import Analysis, analyse

PREPARING_DEADLINE: Final = timedelta(minutes=10)
"""How long replicas may take to load the challenger."""

_KIND_OF_END: Final = {
    RolloutPhase.COMPLETED: EntryKind.ROLLOUT_COMPLETED,
    RolloutPhase.ROLLED_BACK: EntryKind.ROLLOUT_ROLLED_BACK,
    RolloutPhase.ABORTED: EntryKind.ROLLOUT_ABORTED,
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from one look, or from what somebody asked for.

    Attributes:
        state: The state afterwards.
        kind: What has happened, as the ledger calls it; None where nothing has but what is waited for.
        reasons: Why.
        analysis: What was found in the evidence; None where none was looked at.
    """

    state: RolloutState
    kind: EntryKind | None
    reasons: tuple[Reason, ...]
    analysis: Analysis | None = None


def step(state: RolloutState, evidence: RolloutEvidence, now: datetime) -> Decision:
    """Look at a rollout once: analyse the evidence, and decide.

    Args:
        state: Where it stands.
        evidence: What is known of it.
        now: The time of the look, UTC.

    Returns:
        What follows. Its state is ``state`` itself but for ``waits_for`` where nothing happens.
    """
    return decide(state, evidence, analyse(state, evidence, now), now)


def decide(state: RolloutState, evidence: RolloutEvidence, analysis: Analysis, now: datetime) -> Decision:
    """Look at a rollout once.

    Args:
        state: Where it stands.
        evidence: What is known of it.
        analysis: What was found in the evidence.
        now: The time of the look, UTC.
    """
    if state.phase.is_over:
        return Decision(state, None, ())
    if evidence.refused:
        why = (_reason("version_refused", "challenger", evidence.refused),)
        end = RolloutPhase.ABORTED if state.phase is RolloutPhase.PREPARING else RolloutPhase.ROLLED_BACK
        return ended(state, end, why, now, analysis)
    if state.phase is RolloutPhase.PREPARING:
        return _prepared(state, evidence, analysis, now)
    if analysis.verdict is Verdict.FAILED:
        return ended(state, RolloutPhase.ROLLED_BACK, analysis.reasons, now, analysis)
    open_questions = _open_questions(state, evidence, analysis, now)
    if not open_questions:
        return _advanced(state, analysis, now)
    late = _too_late(state, now)
    if late is not None:
        return ended(state, RolloutPhase.ABORTED, (late, *open_questions), now, analysis)
    return _waiting(state, open_questions, analysis)


def entered(
    state: RolloutState,
    phase: RolloutPhase,
    kind: EntryKind,
    reasons: tuple[Reason, ...],
    now: datetime,
    analysis: Analysis | None = None,
    *,
    at_step: int = 0,
) -> Decision:
    """The decision by which a phase, or another step of the canary, begins."""
    after = replace(
        state, phase=phase, step=at_step, phase_began_at=now, waits_for=(), number=state.number + 1
    )
    return Decision(after, kind, reasons, analysis)


def ended(
    state: RolloutState,
    phase: RolloutPhase,
    reasons: tuple[Reason, ...],
    now: datetime,
    analysis: Analysis | None = None,
) -> Decision:
    """The decision by which a rollout is over; where it stood stays in the entries before."""
    stopped = replace(state, paused=False)
    return entered(stopped, phase, _KIND_OF_END[phase], reasons, now, analysis)


def _prepared(state: RolloutState, evidence: RolloutEvidence, analysis: Analysis, now: datetime) -> Decision:
    """Whether every replica can answer with the challenger.

    A replica that cannot load it ends the rollout, unless something cannot be read just now: then that may
    be why, and the rollout holds.
    """
    problems = tuple(
        _reason("cannot_be_loaded", f"slots.{slot}", seen.problem)
        for slot, seen in evidence.slots.items()
        if seen.problem
    )
    if problems and not evidence.missing:
        return ended(state, RolloutPhase.ABORTED, problems, now, analysis)
    open_questions = [*_missing(evidence), *_halted(state), *_not_loaded(state, evidence)]
    if not open_questions:
        return _advanced(state, analysis, now)
    if now - state.phase_began_at > PREPARING_DEADLINE:
        late = _reason("deadline_over", "rollout", f"was not ready within {_in_words(PREPARING_DEADLINE)}")
        return ended(state, RolloutPhase.ABORTED, (late, *open_questions), now, analysis)
    return _waiting(state, tuple(open_questions), analysis)


def _open_questions(
    state: RolloutState, evidence: RolloutEvidence, analysis: Analysis, now: datetime
) -> tuple[Reason, ...]:
    """Why the phase, or the step, in force does not end well now; empty where it does."""
    found = [*_missing(evidence), *_halted(state)]
    if state.champions_load:
        found += _not_loaded(state, evidence)
    if evidence.at <= state.phase_began_at or now < state.phase_began_at:
        found.append(_reason("evidence_too_old", "evidence", "nothing was gathered since this step began"))
    skips = state.without_canary and state.phase is not RolloutPhase.WATCH
    left = _least_time(state) - (now - state.phase_began_at)
    if left > timedelta(0) and not skips:
        found.append(_reason("least_time", "rollout", f"{_in_words(left)} of its least time are left"))
    # A champion that nobody asked has done no harm; only what is to become champion has to show something.
    may_lack = skips or state.phase is RolloutPhase.WATCH
    if analysis.verdict is not Verdict.PASSED and not (may_lack and analysis.verdict is Verdict.INCONCLUSIVE):
        found += analysis.reasons or [
            _reason("not_decided", "analysis", f"the evidence is {analysis.verdict.value}")
        ]
    return tuple(found)


def _least_time(state: RolloutState) -> timedelta:
    plan = state.plan
    if state.phase is RolloutPhase.SHADOW:
        return timedelta(hours=plan.shadow_hours)
    if state.phase is RolloutPhase.WATCH:
        return timedelta(hours=plan.watch_hours)
    return timedelta(minutes=plan.minimum_step_minutes)


def _advanced(state: RolloutState, analysis: Analysis, now: datetime) -> Decision:
    """The next phase, or the next step of the canary."""
    reasons = analysis.reasons
    if state.phase is RolloutPhase.WATCH:
        return ended(state, RolloutPhase.COMPLETED, reasons, now, analysis)
    phase, at_step = _next(state)
    return entered(state, phase, EntryKind.ROLLOUT_ADVANCED, reasons, now, analysis, at_step=at_step)


def _next(state: RolloutState) -> tuple[RolloutPhase, int]:
    """The phase that follows, and the step in it."""
    if state.phase is RolloutPhase.PREPARING:
        if state.fills_empty_slots or state.without_canary:
            return RolloutPhase.WATCH, 0
        if state.plan.shadow_hours > 0.0:
            return RolloutPhase.SHADOW, 0
        return RolloutPhase.CANARY, 0
    if state.phase is RolloutPhase.SHADOW:
        return RolloutPhase.CANARY, 0
    if state.step + 1 < len(state.plan.steps):
        return RolloutPhase.CANARY, state.step + 1
    return RolloutPhase.WATCH, 0


def _too_late(state: RolloutState, now: datetime) -> Reason | None:
    """Which deadline is over; None where none is. A watch has none: its version serves already."""
    if state.phase is RolloutPhase.WATCH:
        return None
    plan = state.plan
    whole = timedelta(hours=plan.deadline_hours)
    if now - state.started_at > whole:
        return _reason("deadline_over", "plan.deadline_hours", f"was not done within {_in_words(whole)}")
    if state.phase is RolloutPhase.CANARY:
        of_step = timedelta(hours=plan.steps[state.step].deadline_hours)
        if now - state.phase_began_at > of_step:
            path = f"plan.steps.{state.step}.deadline_hours"
            return _reason("deadline_over", path, f"the step was not done within {_in_words(of_step)}")
    return None


def _waiting(state: RolloutState, open_questions: tuple[Reason, ...], analysis: Analysis) -> Decision:
    return Decision(replace(state, waits_for=open_questions[:64]), None, open_questions, analysis)


def _missing(evidence: RolloutEvidence) -> list[Reason]:
    return [_reason("evidence_missing", "evidence", missing) for missing in evidence.missing]


def _not_loaded(state: RolloutState, evidence: RolloutEvidence) -> list[Reason]:
    """Slots whose replicas cannot answer with the challenger yet."""
    found = []
    for slot in state.slots:
        seen = evidence.slots.get(slot)
        if seen is None or not seen.loaded:
            problem = seen.problem if seen is not None else ""
            loading = problem or "not all of its replicas have loaded the challenger"
            found.append(_reason("not_loaded", f"slots.{slot}", loading))
    return found


def _halted(state: RolloutState) -> list[Reason]:
    return [_reason("paused", "rollout", "somebody has paused it")] if state.paused else []


def _reason(code: str, path: str, message: str) -> Reason:
    one_line = " ".join(message.split())
    return Reason(code, path, one_line[:MAXIMUM_MESSAGE_CHARACTERS])


def _in_words(length: timedelta) -> str:
    """A length of time for people: the two largest units."""
    seconds = max(0, round(length.total_seconds()))
    days, hours, minutes = seconds // 86_400, seconds % 86_400 // 3_600, seconds % 3_600 // 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s"
