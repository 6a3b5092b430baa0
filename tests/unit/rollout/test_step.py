from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.contracts.ledger_entry import EntryKind
from streamrec.contracts.results import Verdict
from streamrec.contracts.rollouts.evidence import SlotEvidence
from streamrec.contracts.rollouts.state import RolloutPhase, RolloutState
from streamrec.rollout.step import Decision, decide
from tests.made_rollouts import PLAN, a_move, a_rollout, after, analysis_of, evidence_of

SHADOWED = replace(PLAN, shadow_hours=1.0)


def looked_at(state: RolloutState, now: datetime, verdict: Verdict = Verdict.PASSED, **evidence) -> Decision:
    return decide(state, evidence_of(state, now, **evidence), analysis_of(now, verdict), now)


def at(phase: RolloutPhase, *, step: int = 0, plan=PLAN, minutes: float = 0.0) -> RolloutState:
    """A rollout whose phase began so many minutes after it did."""
    return replace(a_rollout(plan=plan), phase=phase, step=step, phase_began_at=after(minutes))


def codes(decision: Decision) -> list[str]:
    return [found.code for found in decision.reasons]


def test_a_healthy_rollout_goes_through_every_step_and_no_other() -> None:
    state, now, seen = a_rollout(plan=SHADOWED), after(0), []
    for _ in range(100):
        now += timedelta(minutes=5)
        decision = looked_at(state, now)
        state = decision.state
        if decision.kind is not None:
            seen.append((decision.kind, state.phase, state.weight_bp))
    advanced = EntryKind.ROLLOUT_ADVANCED
    assert seen == [
        (advanced, RolloutPhase.SHADOW, 0),
        (advanced, RolloutPhase.CANARY, 1_000),
        (advanced, RolloutPhase.CANARY, 5_000),
        (advanced, RolloutPhase.CANARY, 10_000),
        (advanced, RolloutPhase.WATCH, 0),
        (EntryKind.ROLLOUT_COMPLETED, RolloutPhase.COMPLETED, 0),
    ]


@pytest.mark.parametrize("without_canary", [False, True])
def test_an_empty_slot_and_a_promotion_have_no_canary(without_canary) -> None:
    moves = () if without_canary else (a_move(champion=None),)
    decision = looked_at(a_rollout(*moves, without_canary=without_canary), after(1))
    assert decision.state.phase is RolloutPhase.WATCH


def test_replicas_that_load_are_waited_for_and_then_given_up() -> None:
    state = a_rollout()
    loading = {"slots": {"shop.ranking": SlotEvidence(loaded=False, replicas=2)}}
    waiting = looked_at(state, after(9), **loading)
    assert (waiting.kind, codes(waiting)) == (None, ["not_loaded"])
    assert waiting.state.waits_for == waiting.reasons
    given_up = looked_at(state, after(11), **loading)
    assert given_up.kind is EntryKind.ROLLOUT_ABORTED
    assert codes(given_up) == ["deadline_over", "not_loaded"]


def test_a_challenger_that_cannot_be_loaded_is_aborted_with_the_reason() -> None:
    broken = {"slots": {"shop.ranking": SlotEvidence(problem="weights.npz: NaN in row 3")}}
    decision = looked_at(a_rollout(), after(1), **broken)
    assert decision.kind is EntryKind.ROLLOUT_ABORTED
    assert "NaN in row 3" in decision.reasons[0].message


@pytest.mark.parametrize("phase", [RolloutPhase.SHADOW, RolloutPhase.CANARY, RolloutPhase.WATCH])
@pytest.mark.parametrize("paused", [False, True])
def test_harm_rolls_back_at_once_also_what_is_paused(phase, paused) -> None:
    decision = looked_at(replace(at(phase), paused=paused), after(1), Verdict.FAILED)
    assert decision.kind is EntryKind.ROLLOUT_ROLLED_BACK
    assert (decision.state.phase, decision.state.paused) == (RolloutPhase.ROLLED_BACK, False)


@pytest.mark.parametrize(
    ("phase", "end"),
    [
        (RolloutPhase.PREPARING, RolloutPhase.ABORTED),
        (RolloutPhase.CANARY, RolloutPhase.ROLLED_BACK),
        (RolloutPhase.WATCH, RolloutPhase.ROLLED_BACK),
    ],
)
def test_a_version_that_may_not_serve_any_more_ends_it(phase, end) -> None:
    decision = looked_at(at(phase), after(1), refused="its verdict was revoked")
    assert decision.state.phase is end
    assert codes(decision) == ["version_refused"]


@pytest.mark.parametrize("verdict", [Verdict.INCONCLUSIVE, Verdict.ERROR])
def test_what_is_not_decided_holds_and_is_aborted_at_the_deadline(verdict) -> None:
    state = at(RolloutPhase.CANARY)
    held = looked_at(state, after(119), verdict)
    assert (held.kind, codes(held)) == (None, [f"is_{verdict.value}"])
    late = looked_at(state, after(121), verdict)
    assert late.kind is EntryKind.ROLLOUT_ABORTED
    assert late.reasons[0].path == "plan.steps.0.deadline_hours"


def test_evidence_that_is_missing_holds_whatever_was_found_in_the_rest() -> None:
    held = looked_at(at(RolloutPhase.CANARY), after(30), missing=("the tallies cannot be read",))
    assert (held.kind, codes(held)) == (None, ["evidence_missing"])


def test_the_deadline_of_the_whole_plan_counts_over_all_steps() -> None:
    state = at(RolloutPhase.CANARY, step=1, minutes=12 * 60 - 5)
    late = looked_at(state, after(12 * 60 + 1), Verdict.INCONCLUSIVE)
    assert late.kind is EntryKind.ROLLOUT_ABORTED
    assert late.reasons[0].path == "plan.deadline_hours"


def test_a_pause_holds_and_does_not_stop_the_deadline() -> None:
    state = replace(at(RolloutPhase.CANARY), paused=True)
    assert codes(looked_at(state, after(30))) == ["paused"]
    assert looked_at(state, after(121)).kind is EntryKind.ROLLOUT_ABORTED


def test_a_watch_without_anybody_who_asks_ends_well_and_one_without_evidence_does_not() -> None:
    state = at(RolloutPhase.WATCH)
    assert looked_at(state, after(59), Verdict.INCONCLUSIVE).kind is None
    assert looked_at(state, after(61), Verdict.INCONCLUSIVE).kind is EntryKind.ROLLOUT_COMPLETED
    held = looked_at(state, after(600), missing=("the tallies cannot be read",))
    assert (held.kind, codes(held)) == (None, ["evidence_missing"])


def test_a_clock_that_jumps_skips_no_step() -> None:
    state = at(RolloutPhase.CANARY, minutes=60)
    back = looked_at(state, after(0))
    assert back.kind is None
    # Forwards: what was gathered before the step began proves nothing, and one look makes one step.
    old = decide(state, evidence_of(state, after(59)), analysis_of(after(59)), after(90))
    assert (old.kind, codes(old)) == (None, ["evidence_too_old"])
    forwards = looked_at(state, after(600))
    assert (forwards.state.phase, forwards.state.step) == (RolloutPhase.CANARY, 1)


LOADING = {"slots": {"shop.ranking": SlotEvidence(loaded=False, replicas=2, problem="ranker@2: no memory")}}


def test_a_problem_while_something_cannot_be_read_holds() -> None:
    held = looked_at(a_rollout(), after(1), missing=("the registry of models: no answer",), **LOADING)
    assert (held.kind, codes(held)) == (None, ["evidence_missing", "not_loaded"])
    assert "no memory" in held.reasons[1].message


def test_what_the_champions_replicas_have_not_loaded_does_not_become_champion() -> None:
    early = at(RolloutPhase.CANARY, step=0)
    assert looked_at(early, after(11), **LOADING).state.step == 1
    last = at(RolloutPhase.CANARY, step=2)
    held = looked_at(last, after(11), **LOADING)
    assert (held.kind, codes(held)) == (None, ["not_loaded"])
    assert looked_at(last, after(11)).state.phase is RolloutPhase.WATCH
    watched = looked_at(at(RolloutPhase.WATCH), after(61), **LOADING)
    assert (watched.kind, codes(watched)) == (None, ["not_loaded"])


def test_a_promotion_that_was_asked_for_skips_times_and_samples_and_nothing_else() -> None:
    promoted = replace(at(RolloutPhase.CANARY, step=2), without_canary=True)
    go_on = looked_at(promoted, after(1), Verdict.INCONCLUSIVE)
    assert go_on.state.phase is RolloutPhase.WATCH
    for verdict, changes, code in (
        (Verdict.ERROR, {}, "is_error"),
        (Verdict.PASSED, LOADING, "not_loaded"),
        (Verdict.PASSED, {"missing": ("the tallies cannot be read",)}, "evidence_missing"),
    ):
        held = looked_at(promoted, after(1), verdict, **changes)
        assert (held.kind, codes(held)) == (None, [code])
    assert looked_at(promoted, after(1), Verdict.FAILED).kind is EntryKind.ROLLOUT_ROLLED_BACK
    watched = looked_at(go_on.state, after(2), Verdict.INCONCLUSIVE)
    assert codes(watched) == ["least_time"], "it is watched for as long as any other"


verdicts = st.sampled_from(Verdict)
looks = st.lists(st.tuples(verdicts, st.integers(-30, 300), st.booleans(), st.booleans()), max_size=20)


@settings(max_examples=40, deadline=None)
@given(looks)
def test_whatever_is_seen_weights_grow_and_nothing_unproven_becomes_champion(looks) -> None:
    state, now = a_rollout(plan=SHADOWED), after(0)
    for verdict, minutes, missing, loaded in looks:
        now += timedelta(minutes=minutes)
        slots = {slot: SlotEvidence(loaded=loaded, replicas=1) for slot in state.slots}
        decision = looked_at(state, now, verdict, slots=slots, missing=("nothing",) if missing else ())
        after_it = decision.state
        if state.phase.is_over:
            assert decision.kind is None
            assert after_it == state
            continue
        if decision.kind is None:
            assert replace(after_it, waits_for=()) == replace(state, waits_for=())
            # Looking again at the same changes nothing more.
            assert looked_at(
                after_it, now, verdict, slots=slots, missing=("nothing",) if missing else ()
            ) == (decision)
        else:
            assert after_it.number == state.number + 1
            if not after_it.phase.is_over:
                assert after_it.weight_bp >= state.weight_bp or after_it.phase is RolloutPhase.WATCH
                assert not missing
                assert verdict is Verdict.PASSED or state.phase is RolloutPhase.PREPARING
            if after_it.phase is RolloutPhase.WATCH:
                assert state.weight_bp == 10_000
                assert loaded
        state = after_it
