from __future__ import annotations

from dataclasses import replace

import pytest

from streamrec.contracts.errors import ConflictError, InvalidInputError
from streamrec.contracts.ledger_entry import EntryKind
from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.contracts.specification.rollout_plan import OutcomeCriterion
from streamrec.rollout.requests import Ask, Start, asked, retry_of, started
from tests.made_rollouts import BEGAN, BY, PLAN, a_move, a_rollout, after


def at(phase: RolloutPhase, **changes):
    return replace(a_rollout(), phase=phase, **changes)


def test_a_rollout_starts_by_preparing() -> None:
    decision = started(Start(name="a-1", salt="s", moves=[a_move()], plan=PLAN), BY, BEGAN)
    assert decision.kind is EntryKind.ROLLOUT_STARTED
    assert (decision.state.phase, decision.state.number) == (RolloutPhase.PREPARING, 1)


def test_moves_that_do_not_fit_together_are_refused() -> None:
    for moves, path in (
        ([a_move(), a_move()], "moves"),
        ([a_move(), a_move("shop.new", "other@1", None)], "moves"),
        ([], "moves"),
    ):
        with pytest.raises(InvalidInputError) as refused:
            started(Start(name="a-1", salt="s", moves=moves, plan=PLAN), BY, BEGAN)
        assert refused.value.field == path
    with pytest.raises(InvalidInputError, match="serves already"):
        a_move(challenger="ranker@1")


def test_an_outcome_that_no_version_names_is_refused_where_it_would_be_compared() -> None:
    plan = replace(PLAN, outcome=OutcomeCriterion())
    start = Start(name="a-1", salt="s", moves=[a_move()], plan=plan)
    with pytest.raises(InvalidInputError, match="no version names an outcome_metric") as refused:
        started(start, BY, BEGAN)
    assert refused.value.field == "plan.outcome"
    named = replace(start, moves=[replace(a_move(), outcome_metric="click_rate")])
    for fine in (named, replace(start, without_canary=True), replace(start, moves=[a_move(champion=None)])):
        assert started(fine, BY, BEGAN).state.plan.outcome is not None


@pytest.mark.parametrize(
    ("phase", "ask", "kind", "then"),
    [
        (RolloutPhase.CANARY, Ask.PROMOTE, EntryKind.ROLLOUT_ADVANCED, RolloutPhase.CANARY),
        (RolloutPhase.SHADOW, Ask.PROMOTE, EntryKind.ROLLOUT_ADVANCED, RolloutPhase.PREPARING),
        (RolloutPhase.CANARY, Ask.ABORT, EntryKind.ROLLOUT_ABORTED, RolloutPhase.ABORTED),
        (RolloutPhase.WATCH, Ask.ABORT, EntryKind.ROLLOUT_ROLLED_BACK, RolloutPhase.ROLLED_BACK),
        (RolloutPhase.WATCH, Ask.ROLLBACK, EntryKind.ROLLOUT_ROLLED_BACK, RolloutPhase.ROLLED_BACK),
        (RolloutPhase.COMPLETED, Ask.ROLLBACK, EntryKind.ROLLOUT_ROLLED_BACK, RolloutPhase.ROLLED_BACK),
        (RolloutPhase.PREPARING, Ask.PROMOTE, EntryKind.ROLLOUT_ADVANCED, RolloutPhase.PREPARING),
    ],
)
def test_what_is_asked_is_done(phase, ask, kind, then) -> None:
    decision = asked(at(phase), ask, BY, after(5))
    assert (decision.kind, decision.state.phase) == (kind, then)
    assert decision.state.number == 2
    assert "ana" in decision.reasons[0].message
    assert asked(at(phase), ask.value, BY, after(5)) == decision
    if ask is Ask.PROMOTE:
        assert decision.state.without_canary
        assert decision.state.champions_load
        assert decision.state.weight_bp == (10_000 if phase is RolloutPhase.CANARY else 0)


def test_a_pause_and_its_end() -> None:
    paused = asked(at(RolloutPhase.CANARY, step=1), Ask.PAUSE, BY, after(5))
    assert (paused.kind, paused.state.paused, paused.state.step) == (EntryKind.ROLLOUT_PAUSED, True, 1)
    with pytest.raises(ConflictError, match="paused already"):
        asked(paused.state, Ask.PAUSE, BY, after(6))
    resumed = asked(paused.state, Ask.RESUME, BY, after(6))
    assert (resumed.kind, resumed.state.paused, resumed.state.step) == (EntryKind.ROLLOUT_RESUMED, False, 1)
    assert resumed.state.phase_began_at == paused.state.phase_began_at


@pytest.mark.parametrize(
    ("phase", "ask", "remedy"),
    [
        (RolloutPhase.CANARY, Ask.ROLLBACK, "abort it"),
        (RolloutPhase.ABORTED, Ask.ROLLBACK, "nothing to take back"),
        (RolloutPhase.COMPLETED, Ask.ABORT, "try it again"),
        (RolloutPhase.WATCH, Ask.PROMOTE, "champion already"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_does(phase, ask, remedy) -> None:
    with pytest.raises(ConflictError, match=remedy):
        asked(at(phase), ask, BY, after(5))


def test_what_has_failed_is_tried_again_by_another_rollout_with_other_units_first() -> None:
    failed = at(RolloutPhase.ABORTED)
    again = started(retry_of(failed, "ranker-2-again", "other-salt"), BY, after(60))
    assert again.kind is EntryKind.ROLLOUT_RETRIED
    assert (again.state.retries, again.state.salt) == (failed.rollout, "other-salt")
    assert again.state.moves == failed.moves
    with pytest.raises(ConflictError, match="only what was ended"):
        retry_of(at(RolloutPhase.CANARY), "x", "y")


def test_a_request_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="must be one of pause"):
        asked(at(RolloutPhase.CANARY), "stop", BY, after(5))


def test_a_filled_slot_is_emptied_while_it_is_watched_and_not_later() -> None:
    filled = a_rollout(a_move(champion=None))
    watched = asked(replace(filled, phase=RolloutPhase.WATCH), Ask.ABORT, BY, after(5))
    assert watched.state.phase is RolloutPhase.ROLLED_BACK
    with pytest.raises(ConflictError, match="no version to go back to"):
        asked(replace(filled, phase=RolloutPhase.COMPLETED), Ask.ROLLBACK, BY, after(5))
