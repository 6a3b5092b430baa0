from __future__ import annotations

import math
from dataclasses import replace

import pytest

from streamrec.contracts.results import Verdict
from streamrec.contracts.rollouts.evidence import EarlierCounts, SlotEvidence, StepEvidence, UnitSums
from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.contracts.rollouts.tallies import Answers
from streamrec.contracts.specification.rollout_plan import OutcomeCriterion
from streamrec.rollout.analysis import Analysis, ComparedWith, Criterion, analyse
from streamrec.rollout.analysis.budget import PARTS
from tests.made_evidence import BEGAN, LATER, answers, evidence_of, move_of, plan_of, state_of, step_of

PLAN = plan_of(1_000, 5_000, 10_000)


def codes(analysis):
    return {reason.code for reason in analysis.reasons}


def clicks(requests, clicked):
    """Sums of units that each made one request."""
    return UnitSums(
        requests, float(clicked), float(requests), float(clicked), float(clicked), float(requests)
    )


def canary(challenger, champion, **rest):
    return analyse(state_of(PLAN), evidence_of(step_of(1_000, challenger, champion, **rest)), LATER)


def test_equal_answers_with_enough_samples_pass():
    found = canary(answers(1_000, failed=5, slow=5), answers(9_000, failed=45, slow=45))
    assert found.verdict is Verdict.PASSED
    assert {(one.criterion, one.compared_with) for one in found.findings} == {
        (criterion, ComparedWith.CHAMPION)
        for criterion in (Criterion.WRONG, Criterion.SLOW, Criterion.DEGRADED)
    }
    assert Analysis.from_json(found.to_json()) == found


@pytest.mark.parametrize("kind", ["failed", "malformed", "late"])
def test_nothing_but_wrong_answers_are_harm_within_four_requests(kind):
    found = canary(answers(4, **{kind: 4}), answers(36))
    assert found.verdict is Verdict.FAILED
    assert codes(found) == {"harm_wrong"}
    assert canary(answers(2, **{kind: 2}), answers(18)).verdict is Verdict.INCONCLUSIVE


def test_slow_answers_are_harm_only_beyond_what_a_99th_percentile_allows():
    assert codes(canary(answers(8, slow=8), answers(72))) == {"harm_slow"}
    # Far more than the champion has, and still less than one in a hundred.
    assert canary(answers(10_000, slow=70), answers(90_000, slow=10)).verdict is Verdict.PASSED


def test_degraded_answers_are_harm():
    assert codes(canary(answers(200, degraded=60), answers(1_800, degraded=20))) == {"harm_degraded"}


def test_no_data_is_inconclusive():
    nothing = analyse(state_of(PLAN), evidence_of(), LATER)
    assert (nothing.verdict, codes(nothing)) == (Verdict.INCONCLUSIVE, {"too_few_samples"})
    no_slot = analyse(state_of(PLAN), replace(evidence_of(), slots={}), LATER)
    assert (no_slot.verdict, codes(no_slot)) == (Verdict.INCONCLUSIVE, {"no_evidence"})
    unread = evidence_of(step_of(1_000, answers(1_000), answers(9_000)), missing=("no tallies",))
    assert codes(analyse(state_of(PLAN), unread, LATER)) == {"evidence_missing"}
    assert codes(canary(answers(1_000), answers(0))) == {"nobody_to_compare_with"}


def test_samples_of_another_step_do_not_count():
    state = state_of(PLAN, step=1)
    found = analyse(state, evidence_of(step_of(1_000, answers(1_000), answers(9_000))), LATER)
    assert codes(found) == {"too_few_samples"}


def test_harm_is_found_though_something_is_missing():
    evidence = evidence_of(step_of(1_000, answers(50, failed=50), answers(450)), missing=("no heartbeats",))
    assert analyse(state_of(PLAN), evidence, LATER).verdict is Verdict.FAILED


def test_a_shadow_is_judged_by_what_it_would_have_answered():
    state = state_of(PLAN, RolloutPhase.SHADOW)

    def shadow(answered):
        entry = StepEvidence(weight_bp=0, shadow=answered, champion=answers(1_000))
        return analyse(state, evidence_of(entry), LATER)

    assert shadow(answers(200)).verdict is Verdict.PASSED
    assert shadow(answers(200, late=150)).verdict is Verdict.PASSED  # it waits for spare capacity
    assert codes(shadow(answers(200, malformed=30))) == {"harm_wrong"}
    assert codes(shadow(answers(20))) == {"too_few_samples"}


def test_a_watch_is_held_against_the_limits_or_the_holdback():
    steps = [
        step_of(1_000, answers(1_000), answers(9_000)),
        step_of(5_000, answers(5_000), answers(5_000)),
        step_of(10_000, answers(1_000), answers(0)),
    ]
    watch = StepEvidence(weight_bp=0, champion=answers(3_000, failed=300))
    limited = analyse(state_of(PLAN, RolloutPhase.WATCH), evidence_of(*steps, watch=watch), LATER)
    assert codes(limited) == {"harm_wrong"}
    assert any(one.compared_with is ComparedWith.LIMIT for one in limited.findings)
    # What goes wrong for the version of before as well is no fault of the new one.
    held = replace(PLAN, holdback_bp=500)
    both = replace(watch, holdback=answers(150, failed=15))
    compared = analyse(state_of(held, RolloutPhase.WATCH), evidence_of(*steps, watch=both), LATER)
    assert compared.verdict is Verdict.PASSED
    worse = replace(watch, champion=answers(20_000, failed=6_000), holdback=answers(1_000, failed=5))
    found = analyse(state_of(held, RolloutPhase.WATCH), evidence_of(*steps, watch=worse), LATER)
    assert codes(found) == {"harm_wrong"}


def test_an_empty_slot_is_held_against_the_limits_alone():
    state = state_of(plan_of(10_000), RolloutPhase.WATCH, moves=(move_of(empty=True),))
    fine = StepEvidence(weight_bp=0, champion=answers(1_000, failed=5))
    assert analyse(state, evidence_of(watch=fine), LATER).verdict is Verdict.PASSED
    broken = StepEvidence(weight_bp=0, champion=answers(20, failed=20))
    assert analyse(state, evidence_of(watch=broken), LATER).verdict is Verdict.FAILED


def test_a_fault_that_begins_late_is_found_in_what_came_after_an_earlier_moment():
    clean = {"challenger": answers(50_000, failed=250), "champion": answers(450_000, failed=2_250)}
    now = step_of(1_000, answers(50_200, failed=290), answers(451_800, failed=2_259))
    assert analyse(state_of(PLAN), evidence_of(now), LATER).verdict is Verdict.PASSED
    since = evidence_of(now, earlier=[EarlierCounts(number=60, **clean)])
    assert codes(analyse(state_of(PLAN), since, LATER)) == {"harm_wrong"}


def test_a_worse_outcome_is_harm_and_a_better_one_is_not():
    state = state_of(PLAN, moves=(move_of(metric="clicks_per_request"),))

    def found(clicked, moves=state.moves):
        evidence = evidence_of(
            step_of(
                1_000,
                answers(20_000),
                answers(180_000),
                outcome_challenger=clicks(20_000, clicked),
                outcome_champion=clicks(180_000, 9_000),
            )
        )
        return analyse(replace(state, moves=moves), evidence, LATER)

    assert codes(found(800)) == {"harm_outcome"}
    assert found(1_000).verdict is Verdict.PASSED
    assert found(1_200).verdict is Verdict.PASSED
    falls = (move_of(metric="latency_of_requests", lower_is_better=True),)
    assert found(800, falls).verdict is Verdict.PASSED
    assert codes(found(1_200, falls)) == {"harm_outcome"}


def outcome_state(**rest):
    plan = plan_of(5_000, 10_000, outcome=OutcomeCriterion(margin=0.1, confidence=0.95, power=0.8))
    return state_of(plan, moves=(move_of(metric="clicks_per_request"),), **rest)


def half(requests, clicked, champion_clicked):
    return evidence_of(
        step_of(
            5_000,
            answers(requests),
            answers(requests),
            outcome_challenger=clicks(requests, clicked),
            outcome_champion=clicks(requests, champion_clicked),
        )
    )


def test_non_inferiority_is_decided_once_enough_is_known():
    early = analyse(outcome_state(), half(5_000, 250, 250), LATER)
    assert (early.verdict, codes(early)) == (Verdict.INCONCLUSIVE, {"non_inferiority_open"})
    row = early.findings[-1]
    assert row.criterion is Criterion.NON_INFERIORITY
    assert 20_000 < row.samples_needed < 26_000  # 23,490 by the formula for a rate
    shown = analyse(outcome_state(), half(30_000, 1_500, 1_500), LATER)
    assert shown.verdict is Verdict.PASSED
    assert shown.findings[-1].bound > -0.1
    not_shown = analyse(outcome_state(), half(30_000, 1_400, 1_500), LATER)
    assert (not_shown.verdict, codes(not_shown)) == (Verdict.FAILED, {"non_inferiority_not_shown"})


def test_the_one_look_waits_until_the_step_could_end():
    evidence = half(30_000, 1_400, 1_500)
    soon = analyse(outcome_state(), evidence, BEGAN)
    paused = analyse(outcome_state(paused=True), evidence, LATER)
    assert codes(soon) == codes(paused) == {"non_inferiority_open"}


def test_a_plan_that_asks_for_an_outcome_that_nobody_measures_never_passes():
    plan = plan_of(5_000, 10_000, outcome=OutcomeCriterion())
    found = analyse(state_of(plan), evidence_of(step_of(5_000, answers(500), answers(500))), LATER)
    assert codes(found) == {"no_outcome_metric"}


def test_preparing_waits_for_the_replicas():
    state = state_of(PLAN, RolloutPhase.PREPARING)
    assert analyse(state, evidence_of(), LATER).verdict is Verdict.PASSED
    for slot, code in (
        (SlotEvidence(loaded=False, replicas=2), "not_loaded"),
        (SlotEvidence(loaded=True, replicas=0), "not_loaded"),
        (SlotEvidence(problem="out of memory", replicas=2), "replica_problem"),
    ):
        found = analyse(state, replace(evidence_of(), slots={"ranking": slot}), LATER)
        assert (found.verdict, codes(found)) == (Verdict.INCONCLUSIVE, {code})


def unchecked(**fields):
    """Answers as a process could put them together, past the checks of the document."""
    made = Answers(asked=10)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


@pytest.mark.parametrize(
    "wrong",
    [
        unchecked(asked=-1),
        unchecked(asked=math.nan),
        unchecked(failed=11),
        unchecked(latency={"3": 11}),
        unchecked(latency={"3": -1}),
        unchecked(degraded=12),
    ],
)
def test_counts_that_cannot_be_are_an_error(wrong):
    found = canary(wrong, answers(90))
    assert (found.verdict, codes(found)) == (Verdict.ERROR, {"impossible_evidence"})


@pytest.mark.parametrize(
    "sums", [UnitSums(10, math.nan), UnitSums(10, 5.0, 10.0, 1.0, 5.0, 10.0), UnitSums(1, 1, 1, 1, 5, 1)]
)
def test_sums_that_cannot_be_are_an_error(sums):
    found = canary(answers(200), answers(900), outcome_challenger=sums, outcome_champion=clicks(900, 9))
    assert found.verdict is Verdict.ERROR


def test_counts_that_have_fallen_are_an_error():
    before = evidence_of(step_of(1_000, answers(300), answers(900)))
    after = evidence_of(step_of(1_000, answers(299), answers(950)))
    state = state_of(PLAN)
    assert analyse(state, after, LATER, before=before).verdict is Verdict.ERROR
    assert analyse(state, before, LATER, before=before).verdict is Verdict.PASSED
    assert analyse(state, evidence_of(), LATER, before=before).verdict is Verdict.ERROR


def test_a_share_that_the_plan_does_not_have_is_an_error():
    found = analyse(state_of(PLAN), evidence_of(step_of(2_000, answers(300), answers(900))), LATER)
    assert found.verdict is Verdict.ERROR


def test_the_budget_is_not_overspent():
    assert sum(part.share for part in PARTS.values()) == pytest.approx(1.0)
    assert all(0.0 < part.first <= 1.0 for part in PARTS.values())


def test_slots_of_a_bundle_share_the_budget():
    moves = (move_of("ranking"), move_of("retrieval"))
    entry = step_of(1_000, answers(200), answers(1_800))
    evidence = evidence_of(entry)
    evidence = replace(evidence, slots={**evidence.slots, "retrieval": evidence.slots["ranking"]})
    found = analyse(state_of(PLAN, moves=moves), evidence, LATER)
    alone = canary(answers(200), answers(1_800))
    assert found.verdict is Verdict.PASSED
    assert found.findings[0].threshold == pytest.approx(2.0 * alone.findings[0].threshold)
