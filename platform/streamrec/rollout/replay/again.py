"""Transitions of rollouts decided again, from what was kept of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.rollouts.state import RolloutPhase, RolloutState
from streamrec.rollout.driving.transitions import RecordedTransition
from streamrec.rollout.replay.changed_policy import ChangedPlan
from streamrec.rollout.replay.past import PastRollout
from streamrec.rollout.replay.replayed import ReplayedDecision, unknown
from streamrec.rollout.step import Decision, step


def replay_rollout(past: PastRollout, changed: ChangedPlan) -> Iterator[ReplayedDecision]:
    """Decide each transition again that the evidence has decided; what people asked for is no policy's.

    A transition is first decided by its own plan: where that does not give what was written down, another
    release decided, and what the changed plan would have done is unknown. After one that flips, the rollout
    would have gone another way, of which nothing was ever seen.

    Yields:
        One row a transition that was decided by evidence.
    """
    later, flipped_at = _end_of(past), None
    for before, transition in pairwise(past.transitions):
        if transition.request is not None:
            continue
        row = _row(before.state, transition, changed, later)
        if flipped_at is not None:
            yield unknown(
                row, f"entry {flipped_at} would have gone another way, and what follows was never seen"
            )
            continue
        yield row
        if row.flips:
            flipped_at = row.seq


def _row(
    before: RolloutState, transition: RecordedTransition, changed: ChangedPlan, later: str
) -> ReplayedDecision:
    entry = transition.entry
    row = ReplayedDecision(
        seq=entry.seq,
        at=entry.at,
        subject=entry.subject,
        what=in_words(before),
        decided=in_words(transition.state),
        would_be=None,
        reasons=(),
        later=later,
    )
    evidence = transition.evidence
    if evidence is None:
        return unknown(row, "what it was decided by was not kept")
    if step(before, evidence, evidence.at).state.phase is not transition.state.phase:
        return unknown(row, "its own plan does not give this decision in this release: another one decided")
    try:
        plan = changed.applied_to(before.plan)
        other = replace(before, plan=plan)
    except InvalidInputError as error:
        return unknown(row, f"the changed plan is none for this rollout: {error}")
    decision = step(other, evidence, evidence.at)
    would_be = _would_be(decision)
    return replace(row, would_be=would_be, reasons=tuple(found.message for found in decision.reasons))


def _would_be(decision: Decision) -> str:
    return in_words(decision.state) if decision.kind is not None else f"{in_words(decision.state)}, held"


def in_words(state: RolloutState) -> str:
    """Where a rollout stands, with its share where it has one."""
    if state.phase is RolloutPhase.CANARY:
        return f"canary {state.weight_bp / 100:g} %"
    return state.phase.value.replace("_", " ")


def _end_of(past: PastRollout) -> str:
    last = past.transitions[-1]
    became_champion = any(one.state.phase is RolloutPhase.WATCH for one in past.transitions)
    text = in_words(last.state)
    if last.state.phase is RolloutPhase.ROLLED_BACK and became_champion:
        text = f"{text} after it had become champion"
    why = last.entry.reason
    return f"{text}: {why}" if why and last.state.phase.is_over else text
