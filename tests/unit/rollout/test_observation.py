from __future__ import annotations

from datetime import timedelta

import pytest

from streamrec.contracts.models import ModelRef
from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.traffic import ReplicaHeartbeat
from streamrec.rollout.observation import readiness
from tests.made_rollouts import BEGAN, a_move, a_rollout

OLD, NEW = ModelRef("ranker", 1), ModelRef("ranker", 2)


def beat(*loaded, role=ServingRole.CHAMPION, problem="", age_s=0.0, slot="shop.ranking", name="a"):
    return ReplicaHeartbeat(
        replica=name,
        slot=slot,
        role=role,
        revision=1,
        loaded=loaded,
        problem=problem,
        at=BEGAN - timedelta(seconds=age_s),
    )


CHALLENGER = ServingRole.CHALLENGER


def ready(*beats, **state):
    from dataclasses import replace

    rollout = replace(a_rollout(without_canary=state.pop("without_canary", False)), **state)
    return readiness(rollout, rollout.moves[0], beats, BEGAN)


def test_where_nothing_serves_nobody_has_to_load():
    assert ready() == (True, 0, "")
    assert ready(beat(OLD, age_s=11.0), beat(OLD, slot="shop.other")) == (True, 0, "")


def test_on_trial_the_challengers_replicas_count():
    assert ready(beat(OLD), beat(role=CHALLENGER)) == (False, 2, "")
    assert ready(beat(OLD), beat(NEW, role=CHALLENGER)) == (True, 2, "")
    assert ready(beat(OLD), beat(NEW, role=CHALLENGER), beat(role=CHALLENGER))[0] is False


def test_where_a_slot_has_no_challengers_replica_its_others_count():
    assert ready(beat(OLD))[0] is False
    assert ready(beat(OLD, NEW))[0] is True


@pytest.mark.parametrize("state", [{"phase": RolloutPhase.CANARY, "step": 2}, {"without_canary": True}])
def test_before_it_becomes_champion_the_champions_replicas_count(state):
    challenger = beat(NEW, role=CHALLENGER)
    assert ready(beat(OLD), challenger, **state)[0] is False
    assert ready(beat(OLD, NEW), beat(OLD), challenger, **state)[0] is False
    assert ready(beat(OLD, NEW), challenger, **state)[0] is True


def test_in_the_watch_the_challengers_replicas_do_not_count():
    assert ready(beat(OLD, NEW), beat(role=CHALLENGER), phase=RolloutPhase.WATCH)[0] is True


def test_an_empty_slot_is_filled_by_its_champions_replicas():
    state = a_rollout(a_move(champion=None))
    for beats, expected in (
        ([beat(role=CHALLENGER)], False),
        ([beat()], False),
        ([beat(NEW), beat(role=CHALLENGER)], True),
    ):
        assert readiness(state, state.moves[0], beats, BEGAN)[0] is expected


def test_a_problem_counts_where_it_is_about_the_challenger():
    broken = beat(role=CHALLENGER, problem="ranker@2: wrong shape", name="b")
    assert ready(beat(OLD), broken)[2] == "replica b of shop.ranking: ranker@2: wrong shape"
    assert ready(beat(problem="ranker@1: damaged"), beat(NEW, role=CHALLENGER))[2] == ""
    assert ready(beat(problem="ranker@20: damaged; ranker@1: damaged"))[2] == ""
    assert ready(beat(problem="ranker@1: damaged; ranker@2: no room"))[2] != ""
