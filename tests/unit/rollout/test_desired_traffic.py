from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from streamrec.contracts.errors import ConflictError, InvalidInputError
from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.traffic import SlotTraffic, Traffic, assigned
from streamrec.rollout.desired_traffic import check_start, desired, needed_versions
from streamrec.rollout.traffic_changes import salt_of
from tests.made_rollouts import PLAN, a_move, a_rollout, after, ref

HELD_BACK = replace(PLAN, holdback_bp=500, holdback_days=7.0)
NEEDS = {
    ref("ranker@1"): {},
    ref("ranker@2"): {},
    ref("towers@1"): {},
    ref("towers@2"): {},
    ref("cold@1"): {"retrieval": ref("towers@1")},
    ref("cold@2"): {"retrieval": ref("towers@2")},
}
PAIR = (a_move("shop.retrieval", "towers@2", "towers@1"), a_move("shop.cold", "cold@2", "cold@1"))
PAIR_NAME = "shop.cold + shop.retrieval"


def slot(champion: str, name: str, bundle: str | None = None) -> SlotTraffic:
    return SlotTraffic(ref(champion), None, 0, 0, salt_of(bundle or name), None, bundle, None)


SERVING = Traffic(
    7,
    {
        "shop.ranking": slot("ranker@1", "shop.ranking"),
        "shop.retrieval": slot("towers@1", "shop.retrieval", PAIR_NAME),
        "shop.cold": slot("cold@1", "shop.cold", PAIR_NAME),
    },
    (),
)


def wanted(*states, traffic=SERVING, loaded=None, now=None):
    found = desired(traffic, states, depends_on=NEEDS, loaded=loaded or {}, now=now or after(0))
    # It can be published, and asks for nothing more once it is.
    published = Traffic(8, found.slots, found.prepare)
    again = desired(published, states, depends_on=NEEDS, loaded=loaded or {}, now=now or after(0))
    assert again == found
    assert found.is_said_by(published)
    return found


def at(phase, *moves, step=0, plan=PLAN, **changes):
    return replace(a_rollout(*moves, plan=plan), phase=phase, step=step, phase_began_at=after(30), **changes)


def test_without_rollouts_everything_stays() -> None:
    assert wanted().is_said_by(SERVING)
    assert wanted(traffic=None).slots == {}


def test_the_challenger_is_named_before_it_has_a_share() -> None:
    found = wanted(at(RolloutPhase.PREPARING))
    ranking = found.slots["shop.ranking"]
    assert (ranking.champion, ranking.challenger) == (ref("ranker@1"), ref("ranker@2"))
    assert (ranking.weight_bp, ranking.shadow_bp, ranking.holder) == (0, 0, "ranker-2-a1b2")
    assert found.prepare == ()
    assert found.slots["shop.cold"] == SERVING.slots["shop.cold"]


def test_a_shadow_is_asked_for_everybody_and_answers_nobody() -> None:
    ranking = wanted(at(RolloutPhase.SHADOW, plan=HELD_BACK)).slots["shop.ranking"]
    assert (ranking.weight_bp, ranking.shadow_bp, ranking.holdback) == (0, 10_000, None)


@pytest.mark.parametrize(("step", "weight_bp"), [(0, 1_000), (1, 5_000), (2, 10_000)])
def test_the_canary_has_the_share_of_its_step(step, weight_bp) -> None:
    found = wanted(at(RolloutPhase.CANARY, step=step))
    assert found.slots["shop.ranking"].weight_bp == weight_bp
    assert found.prepare == ((ref("ranker@2"),) if weight_bp == 10_000 else ())


@pytest.mark.parametrize("phase", [RolloutPhase.WATCH, RolloutPhase.COMPLETED])
def test_the_champion_changes_once_its_replicas_have_it(phase) -> None:
    state = at(phase)
    before = Traffic(8, wanted(at(RolloutPhase.CANARY, step=1)).slots, ())
    loading = wanted(state, traffic=before, loaded={"shop.ranking": [ref("ranker@1")]})
    ranking = loading.slots["shop.ranking"]
    # Nobody who has met the challenger is sent back meanwhile.
    assert (ranking.champion, ranking.weight_bp) == (ref("ranker@1"), 10_000)
    assert loading.prepare == (ref("ranker@2"),)

    flipped = wanted(state, traffic=before, loaded={"shop.ranking": [ref("ranker@1"), ref("ranker@2")]})
    ranking = flipped.slots["shop.ranking"]
    assert (ranking.champion, ranking.challenger, ranking.weight_bp) == (ref("ranker@2"), None, 0)
    assert ranking.holder == (state.rollout if phase is RolloutPhase.WATCH else None)
    assert flipped.prepare == (ref("ranker@1"),), "the way back stays loaded"


@pytest.mark.parametrize("phase", [RolloutPhase.ROLLED_BACK, RolloutPhase.ABORTED])
def test_what_was_ended_leaves_what_served_before(phase) -> None:
    for earlier in (RolloutPhase.PREPARING, RolloutPhase.CANARY, RolloutPhase.WATCH):
        between = Traffic(8, wanted(at(earlier, plan=HELD_BACK)).slots, ())
        found = wanted(at(phase, plan=HELD_BACK), traffic=between)
        assert found.slots == SERVING.slots
        assert found.prepare == ()


def test_an_empty_slot_is_filled_and_emptied_again() -> None:
    move = a_move("ads.clicks", "clicks@1", None)
    needs = NEEDS | {ref("clicks@1"): {}}
    preparing = desired(None, [at(RolloutPhase.PREPARING, move)], depends_on=needs, loaded={}, now=after(0))
    assert (preparing.slots, preparing.prepare) == ({}, (ref("clicks@1"),))
    filled = desired(None, [at(RolloutPhase.WATCH, move)], depends_on=needs, loaded={}, now=after(0))
    assert filled.slots["ads.clicks"].champion == ref("clicks@1")
    traffic = Traffic(1, filled.slots, ())
    ended = desired(traffic, [at(RolloutPhase.ROLLED_BACK, move)], depends_on=needs, loaded={}, now=after(0))
    assert ended.slots == {}


def test_slots_that_depend_on_each_other_change_together() -> None:
    state = at(RolloutPhase.CANARY, *PAIR)
    slots = wanted(state).slots
    assert {slots[name].salt for name in state.slots} == {state.salt}
    assert {slots[name].bundle for name in state.slots} == {PAIR_NAME}
    for number in range(300):
        roles = {assigned(slots[name], f"u{number}")[0] for name in state.slots}
        assert len(roles) == 1
    # One of two that cannot flip yet keeps both from it.
    half = {"shop.retrieval": [ref("towers@1"), ref("towers@2")], "shop.cold": [ref("cold@1")]}
    waiting = wanted(at(RolloutPhase.WATCH, *PAIR), traffic=Traffic(8, slots, ()), loaded=half).slots
    assert {str(waiting[name].champion) for name in state.slots} == {"towers@1", "cold@1"}


def test_the_holdback_begins_with_the_first_step_and_outlives_the_rollout() -> None:
    canary = wanted(at(RolloutPhase.CANARY, plan=HELD_BACK))
    held = canary.slots["shop.ranking"].holdback
    assert held is not None
    assert (held.version, held.share_bp) == (ref("ranker@1"), 500)
    watched = wanted(at(RolloutPhase.WATCH, plan=HELD_BACK), traffic=Traffic(8, canary.slots, ()))
    completed = at(RolloutPhase.COMPLETED, plan=HELD_BACK)
    done = wanted(completed, traffic=Traffic(9, watched.slots, ()))
    held = done.slots["shop.ranking"].holdback
    assert held is not None
    assert held.until == completed.phase_began_at + timedelta(days=7)
    later = wanted(completed, traffic=Traffic(10, done.slots, ()), now=held.until)
    assert later.slots["shop.ranking"].holdback is None


def test_a_holdback_ends_where_its_version_would_answer_beside_what_it_was_not_made_for() -> None:
    needs = NEEDS | {
        ref("cold@3"): {"retrieval": ref("towers@1")},
        ref("cold@4"): {"retrieval": ref("towers@2")},
    }

    def said(state, traffic):
        found = desired(traffic, [state], depends_on=needs, loaded={}, now=after(0))
        return Traffic(traffic.revision + 1, found.slots, found.prepare)

    alone = at(RolloutPhase.COMPLETED, a_move("shop.cold", "cold@3", "cold@1"), plan=HELD_BACK)
    held = said(alone, SERVING)
    assert held.slots["shop.cold"].holdback is not None
    moves = (PAIR[0], a_move("shop.cold", "cold@4", "cold@3"))
    assert needed_versions(held, moves) == frozenset(needs) - {ref("cold@2"), ref("ranker@2")}
    check_start(held, moves, 0, needs)
    # As long as nobody meets the new set, what is held back fits to what serves.
    assert said(at(RolloutPhase.PREPARING, *moves), held).slots["shop.cold"].holdback is not None
    assert said(at(RolloutPhase.CANARY, *moves), held).slots["shop.cold"].holdback is None
    # One that moves nothing that it works with leaves it.
    ranking = said(at(RolloutPhase.CANARY), held)
    assert ranking.slots["shop.cold"].holdback is not None


def test_nobody_flips_back_over_all_steps_and_shares_are_what_they_say() -> None:
    steps = [wanted(at(RolloutPhase.CANARY, step=step, plan=HELD_BACK)) for step in range(3)]
    units = [f"user-{number}" for number in range(5_000)]
    before: set[str] = set()
    for found, weight in zip(steps, (0.1, 0.5, 1.0), strict=True):
        ranking = found.slots["shop.ranking"]
        roles = {unit: assigned(ranking, unit)[0] for unit in units}
        challenged = {unit for unit, role in roles.items() if role is ServingRole.CHALLENGER}
        assert before <= challenged
        share = weight * 0.95
        tolerance = 4.5 * (share * (1 - share) / len(units)) ** 0.5
        assert abs(len(challenged) / len(units) - share) <= tolerance
        before = challenged


def test_a_rollout_cannot_start_where_its_slots_are_not_free() -> None:
    held = Traffic(8, wanted(at(RolloutPhase.CANARY, *PAIR)).slots, ())
    alone = a_move("shop.cold", "cold@3", "cold@1")
    needs = NEEDS | {ref("cold@3"): {"retrieval": ref("towers@1")}}
    with pytest.raises(ConflictError, match=r"shop\.cold is held by"):
        check_start(held, [alone], 0, needs)
    with pytest.raises(InvalidInputError, match="promote a version that"):
        check_start(SERVING, PAIR[:1], 0, needs)
    check_start(SERVING, PAIR, 500, needs)
    kept = Traffic(9, wanted(at(RolloutPhase.COMPLETED, plan=HELD_BACK)).slots, ())
    again = a_move(challenger="ranker@3", champion="ranker@2")
    needs |= {ref("ranker@3"): {}}
    check_start(kept, [again], 0, needs)
    with pytest.raises(ConflictError, match="still has a holdback"):
        check_start(kept, [again], 500, needs)
