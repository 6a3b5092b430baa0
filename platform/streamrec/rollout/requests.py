"""What people ask of a rollout: to start it, halt it, go on with it, end it. Pure, like `step`.

Whether somebody may ask is for `streamrec.access`; whether a slot is free is for the ledger, which refuses a
second rollout of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from streamrec.contracts.errors import ConflictError, InvalidInputError
from streamrec.contracts.ledger_entry import EntryKind
from streamrec.contracts.results import Reason
from streamrec.contracts.rollouts.state import Move, RolloutPhase, RolloutState
from streamrec.contracts.specification.rollout_plan import RolloutPlan
from streamrec.rollout.step import Decision, ended, entered
from streamrec.rollout.told_changes import By


class Ask(StrEnum):
    """What can be asked of a rollout that was started."""

    PAUSE = "pause"
    """Stay where it is; harm still rolls it back, and its deadlines still end it."""
    RESUME = "resume"
    """Go on after a pause."""
    PROMOTE = "promote"
    """Skip what is left before the challenger becomes champion: shadow, times, samples and non-inferiority.
    Harm, a refused version and missing evidence still stop it, and it is watched all the same."""
    ABORT = "abort"
    """End it; what served before serves."""
    ROLLBACK = "rollback"
    """Take back a challenger that has become champion, also long after."""


_BEFORE_CHAMPION: Final = frozenset({RolloutPhase.PREPARING, RolloutPhase.SHADOW, RolloutPhase.CANARY})
_UNDER_WAY: Final = _BEFORE_CHAMPION | {RolloutPhase.WATCH}
_ALLOWED: Final = {
    Ask.PAUSE: _UNDER_WAY,
    Ask.RESUME: _UNDER_WAY,
    Ask.PROMOTE: _BEFORE_CHAMPION,
    Ask.ABORT: _UNDER_WAY,
    Ask.ROLLBACK: frozenset({RolloutPhase.WATCH, RolloutPhase.COMPLETED}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a rollout starts with.

    Attributes:
        name: Of the rollout; never used before.
        salt: Of the buckets of its units; another one for each rollout.
        moves: What it does, a slot each.
        plan: In which steps.
        without_canary: Make the challenger champion as soon as it is loaded.
        retries: The rollout that it tries again.
    """

    name: str
    salt: str
    moves: Sequence[Move]
    plan: RolloutPlan
    without_canary: bool = False
    retries: str | None = None


def started(start: Start, by: By, now: datetime) -> Decision:
    """The decision by which a rollout starts.

    Raises:
        InvalidInputError: The moves do not fit together, or the plan asks for an outcome that none of them
            names; ``field`` is the dotted path.
    """
    tried = not start.without_canary and any(move.champion is not None for move in start.moves)
    if tried and start.plan.outcome is not None and all(m.outcome_metric is None for m in start.moves):
        raise InvalidInputError(
            "plan.outcome",
            "can never be decided: no version names an outcome_metric in its model.yaml; name one and "
            "register the version again, or drop the outcome from the plan",
        )
    state = RolloutState(
        rollout=start.name,
        moves=tuple(start.moves),
        plan=start.plan,
        salt=start.salt,
        phase=RolloutPhase.PREPARING,
        step=0,
        paused=False,
        waits_for=(),
        started_at=now,
        phase_began_at=now,
        by=by.actor,
        role=by.role,
        reason=by.reason,
        without_canary=start.without_canary,
        retries=start.retries,
    )
    kind = EntryKind.ROLLOUT_STARTED if start.retries is None else EntryKind.ROLLOUT_RETRIED
    return Decision(RolloutState.from_json(state.to_json()), kind, ())


def retry_of(state: RolloutState, name: str, salt: str) -> Start:
    """What a rollout that has failed is tried again with: the same moves and plan, other units first.

    Raises:
        ConflictError: It has not failed.
    """
    if state.phase not in (RolloutPhase.ABORTED, RolloutPhase.ROLLED_BACK):
        raise ConflictError(f"{state.rollout} is {_in_words(state)}: only what was ended is tried again")
    return Start(
        name=name,
        salt=salt,
        moves=state.moves,
        plan=state.plan,
        without_canary=state.without_canary,
        retries=state.rollout,
    )


def asked(state: RolloutState, ask: Ask | str, by: By, now: datetime) -> Decision:
    """Do what somebody asks.

    Args:
        state: Where the rollout stands.
        ask: What, or its name.
        by: Who, and why.
        now: The time, UTC.

    Raises:
        ConflictError: It makes no sense where the rollout stands; says what does.
        InvalidInputError: There is no such request.
    """
    try:
        ask = Ask(ask)
    except ValueError as error:
        raise InvalidInputError("ask", f"must be one of {', '.join(Ask)}") from error
    if ask is Ask.ROLLBACK and state.phase is RolloutPhase.COMPLETED and state.fills_empty_slots:
        raise ConflictError(
            f"nothing served in {', '.join(state.slots)} before {state.rollout}: there is no version to go "
            "back to; roll out another one"
        )
    if state.phase not in _ALLOWED[ask]:
        raise ConflictError(f"{state.rollout} is {_in_words(state)}: {_remedy(state, ask)}")
    why = (Reason("asked_for", "rollout", f"{by.actor} ({by.role.value}) asked for it: {ask.value}"),)
    if ask in (Ask.PAUSE, Ask.RESUME):
        return _halted(state, ask, why)
    if ask is Ask.PROMOTE:
        return _promoted(state, why, now)
    if ask is Ask.ABORT and state.phase is not RolloutPhase.WATCH:
        return ended(state, RolloutPhase.ABORTED, why, now)
    return ended(state, RolloutPhase.ROLLED_BACK, why, now)


def _halted(state: RolloutState, ask: Ask, why: tuple[Reason, ...]) -> Decision:
    paused = ask is Ask.PAUSE
    if state.paused == paused:
        raise ConflictError(f"{state.rollout} {'is paused already' if paused else 'is not paused'}")
    kind = EntryKind.ROLLOUT_PAUSED if paused else EntryKind.ROLLOUT_RESUMED
    return Decision(replace(state, paused=paused, waits_for=(), number=state.number + 1), kind, why)


def _promoted(state: RolloutState, why: tuple[Reason, ...], now: datetime) -> Decision:
    """Skip what is left; champion it becomes only when the replicas of champions have loaded it.

    Until then nobody's version changes: who meets the challenger already goes on doing so, since it goes to
    the plan's last step at once, and who does not yet keeps the champion.
    """
    if state.without_canary or (state.phase is RolloutPhase.PREPARING and state.fills_empty_slots):
        raise ConflictError(f"{state.rollout} becomes champion as soon as its replicas have loaded it")
    skipping = replace(state, paused=False, without_canary=True)
    advanced = EntryKind.ROLLOUT_ADVANCED
    if state.phase is RolloutPhase.CANARY:
        last = len(state.plan.steps) - 1
        if state.step == last:
            return Decision(replace(skipping, waits_for=(), number=state.number + 1), advanced, why)
        return entered(skipping, RolloutPhase.CANARY, advanced, why, now, at_step=last)
    return entered(skipping, RolloutPhase.PREPARING, advanced, why, now)


def _in_words(state: RolloutState) -> str:
    return state.phase.value.replace("_", " ")


def _remedy(state: RolloutState, ask: Ask) -> str:
    if ask is Ask.ROLLBACK and not state.phase.is_over:
        return "it has not become champion; abort it"
    if ask is Ask.ROLLBACK:
        return "there is nothing to take back"
    if state.phase is RolloutPhase.WATCH:
        return "its challenger is champion already; roll it back if it does harm"
    return f"it is over, and {ask.value} comes too late; start another one, or try it again"
