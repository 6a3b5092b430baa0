"""Challengers: asked first, not shown where they fail, never mixed with the champions of their bundle."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.contracts.rungs import Rung
from services.recommendations.contracts.stages import COLD_START, RANKING, RETRIEVAL, Pin, Trial
from services.recommendations.pipeline.hand_over import HandOver
from services.recommendations.pipeline.pipeline import PipelineSettings, RecommendationPipeline
from services.recommendations.pipeline.served_items import ServedItems
from services.recommendations.pipeline.stage_calls import CallSettings, GuardedCalls
from services.recommendations.pipeline.trials import Shadows, Trials
from streamrec.contracts.errors import DependencyError
from streamrec.contracts.slots import ServingRole
from streamrec.serving.counting.served_counts import AskedOutcome
from streamrec.serving.deadline import Deadline
from streamrec.serving.retry_budget import RetryBudget
from streamrec.serving.turns import Turn
from tests.unit.pipeline.conftest import ScriptedStage, ScriptedStages

KNOWN = UserState("u", Segment(language="fi"), tuple(f"item-{row:02d}" for row in range(6)))
NEW = UserState("new", Segment(language="fi"))
HOW = CallSettings(dict.fromkeys(("retrieval", "cold_start", "ranking", "reranking"), 60.0), budget_ms=100.0)
NO_RETRIES = RetryBudget(ratio=0.0, initial_retries=0.0)
AT_ONCE = PipelineSettings(HandOver(kappa=0.05))
BY_DEGREES = PipelineSettings(HandOver(kappa=6.0))
BUNDLE = "space"
CHALLENGER_VERSION = 20


def challengers(catalogue) -> ScriptedStages:
    names = ("retrieval", "cold_start", "ranking", "reranking")
    return ScriptedStages(
        *(ScriptedStage(name, catalogue, CHALLENGER_VERSION + row) for row, name in enumerate(names))
    )


class Trialled:
    """A pipeline some of whose stages have challengers."""

    def __init__(self, stages, item_table, *answering, shadowing=(), bundle=None, settings=AT_ONCE) -> None:
        self.champions, self.challengers = stages, challengers(item_table.catalogue)
        self.faults, self.shadowed = [], []
        self.has_room = True
        pins = {
            stage: Pin(stage, 1, ServingRole.CHAMPION, "trial", 1_000, bundle)
            for stage in ("retrieval", "cold_start", "ranking", "reranking")
        }
        as_challenger = {
            stage: replace(pins[stage], version=CHALLENGER_VERSION, role=ServingRole.CHALLENGER)
            for stage in answering
        }
        as_shadow = {
            stage: replace(pins[stage], version=CHALLENGER_VERSION, role=ServingRole.SHADOW)
            for stage in shadowing
        }
        trial = Trial(self.challengers.as_stages(), as_challenger, as_shadow)
        seen = replace(stages.as_stages(), pins=pins, trial=trial)
        self.shadows = Shadows(HOW, lambda: self.has_room, self.shadowed.append, maximum_under_way=2)
        self.pipeline = RecommendationPipeline(
            lambda _user_id: seen,
            lambda: ServedItems.from_item_table(item_table),
            GuardedCalls(HOW, NO_RETRIES),
            settings,
            trials=Trials(HOW, NO_RETRIES, lambda *fault: self.faults.append(fault)),
            shadows=self.shadows,
        )

    async def asked(self, user=KNOWN, *, budget_ms=1000.0, turn=None):
        deadline = Deadline.after_ms(budget_ms)
        return await self.pipeline.recommend(user, 5, "request", deadline, turn=turn)

    def recommend(self, user=KNOWN, **rest):
        return asyncio.run(self.asked(user, **rest))


def outcomes(answer, stage=RANKING):
    return [(asked.role.value, asked.outcome.value) for asked in answer.asked if asked.stage == stage]


def test_it_answers_and_the_champion_is_not_asked(stages, item_table):
    trialled = Trialled(stages, item_table, RANKING)
    answer = trialled.recommend()
    assert answer.model_versions[RANKING] == trialled.challengers.ranking.version
    assert answer.roles == {
        "retrieval": ServingRole.CHAMPION,
        "ranking": ServingRole.CHALLENGER,
        "reranking": ServingRole.CHAMPION,
    }
    assert outcomes(answer) == [("challenger", "answered")]
    assert stages.ranking.calls == 0


SPOILED = {
    "nan": lambda found: Candidates(found.item_ids, np.full(len(found), np.nan, dtype=np.float32)),
    "infinite": lambda found: Candidates(found.item_ids, np.full(len(found), np.inf, dtype=np.float32)),
    "too short": lambda found: Candidates(found.item_ids[1:], found.scores[1:]),
    "one item": lambda found: Candidates((found.item_ids[0],) * len(found), found.scores),
    "nothing": lambda _found: Candidates((), np.empty(0, dtype=np.float32)),
}


@pytest.mark.parametrize("spoiled", SPOILED)
def test_what_must_not_be_shown_is_answered_by_the_champion(stages, item_table, spoiled):
    trialled = Trialled(stages, item_table, RANKING)
    trialled.challengers.ranking.faults = [SPOILED[spoiled]]
    answer = trialled.recommend()
    whole = Trialled(stages, item_table).recommend()
    assert (answer.item_ids, answer.scores) == (whole.item_ids, whole.scores)
    assert answer.rung is Rung.RANKED
    assert not answer.degraded
    assert answer.failed == ()
    assert outcomes(answer) == [("challenger", "malformed"), ("champion", "answered")]
    assert [asked.instead for asked in answer.asked if asked.stage == RANKING] == [False, True]
    assert [fault[0] for fault in trialled.faults] == ["ranking_challenger"]


def test_an_error_and_lateness_are_told_apart(stages, item_table):
    trialled = Trialled(stages, item_table, RANKING)
    trialled.challengers.ranking.faults = [RuntimeError("broken")]
    assert outcomes(trialled.recommend())[0] == ("challenger", "failed")
    trialled.challengers.ranking.delay_s = 1.0
    answer = trialled.recommend(budget_ms=100.0)
    assert outcomes(answer) == [("challenger", "late"), ("champion", "answered")]
    # Half of the time is left for the champion.
    assert 20.0 < answer.in_vain_ms < 80.0
    assert answer.rung is Rung.RANKED


def test_a_request_without_time_to_try_is_the_champions(stages, item_table):
    trialled = Trialled(stages, item_table, RANKING)
    stages.retrieval.delay_s = 0.035
    answer = trialled.recommend(budget_ms=100.0)
    assert outcomes(answer) == [("challenger", "not_asked"), ("champion", "answered")]
    assert trialled.challengers.ranking.calls == 0
    assert answer.in_vain_ms == 0.0


def test_its_failures_open_no_circuit_of_the_champions(stages, item_table):
    trialled = Trialled(stages, item_table, RANKING)
    trialled.challengers.ranking.faults = [DependencyError("gone")] * 40

    async def run():
        return [await trialled.asked() for _ in range(30)]

    answers = asyncio.run(run())
    assert {answer.rung for answer in answers} == {Rung.RANKED}
    assert all(outcomes(answer) == [("challenger", "failed"), ("champion", "answered")] for answer in answers)
    # It is left alone after a while, which counts against it.
    assert trialled.challengers.ranking.calls < 30


@pytest.mark.parametrize("late", [False, True])
def test_a_bundle_is_never_mixed(stages, item_table, late):
    trialled = Trialled(stages, item_table, RETRIEVAL, COLD_START, bundle=BUNDLE, settings=BY_DEGREES)
    trialled.challengers.cold_start.faults = [RuntimeError("broken")]
    if late:
        trialled.challengers.retrieval.delay_s = 0.005
    answer = trialled.recommend()
    assert answer.rung is Rung.RANKED
    assert not answer.skipped
    assert set(answer.roles.values()) == {ServingRole.CHAMPION}
    # The one that failed counts; of the other, who was well, nothing was shown.
    assert outcomes(answer, COLD_START) == [("challenger", "failed"), ("champion", "answered")]
    assert outcomes(answer, RETRIEVAL)[-1] == ("champion", "answered")


def test_slots_that_do_not_belong_together_fall_back_apart(stages, item_table):
    trialled = Trialled(stages, item_table, RETRIEVAL, RANKING)
    trialled.challengers.ranking.faults = [RuntimeError("broken")]
    answer = trialled.recommend()
    assert answer.roles[RETRIEVAL] is ServingRole.CHALLENGER
    assert answer.roles[RANKING] is ServingRole.CHAMPION


def test_a_later_failure_of_a_bundle_begins_the_request_again(stages, item_table):
    trialled = Trialled(stages, item_table, RETRIEVAL, RANKING, bundle=BUNDLE)
    trialled.challengers.ranking.faults = [RuntimeError("broken")]
    answer = trialled.recommend()
    assert set(answer.roles.values()) == {ServingRole.CHAMPION}
    assert answer.rung is Rung.RANKED
    assert stages.retrieval.calls == 1


def test_others_compute_while_a_challenger_is_waited_for(stages, item_table):
    trialled = Trialled(stages, item_table, RANKING)
    trialled.challengers.ranking.delay_s = 0.02
    lock = asyncio.Lock()

    async def run():
        turn = Turn(lock)
        await turn.take(1.0)
        asking = asyncio.create_task(trialled.asked(turn=turn))
        await trialled.challengers.ranking.called.wait()
        await asyncio.sleep(0)
        free = not lock.locked()
        await asking
        held = lock.locked()
        turn.leave()
        return free, held

    assert asyncio.run(run()) == (True, True)


async def settled(trialled, before=0):
    for _ in range(200):
        if len(trialled.shadowed) > before:
            return
        await asyncio.sleep(0.001)
    pytest.fail("no shadow has answered")


def test_a_shadow_is_asked_once_the_answer_is_there(stages, item_table):
    trialled = Trialled(stages, item_table, shadowing=(RANKING,))

    async def run():
        answer = await trialled.asked()
        asked_before = trialled.challengers.ranking.calls
        await settled(trialled)
        return answer, asked_before

    answer, asked_before = asyncio.run(run())
    assert asked_before == 0
    assert answer.model_versions[RANKING] == stages.ranking.version
    (shadow,) = trialled.shadowed
    assert (shadow.unit, shadow.request_id, shadow.disagreed) == ("u", "request", False)
    assert shadow.asked.outcome is AskedOutcome.ANSWERED
    assert shadow.asked.role is ServingRole.SHADOW


def test_a_shadow_that_answers_otherwise_or_not_at_all_is_told(stages, item_table):
    trialled = Trialled(stages, item_table, shadowing=(RANKING,))
    turned = [
        lambda found: Candidates(found.item_ids[::-1], found.scores),
        SPOILED["nan"],
        RuntimeError("broken"),
    ]

    async def run():
        for fault in turned:
            trialled.challengers.ranking.faults = [fault]
            before = len(trialled.shadowed)
            await trialled.asked()
            await settled(trialled, before)

    asyncio.run(run())
    assert [(shadow.disagreed, shadow.asked.outcome.value) for shadow in trialled.shadowed] == [
        (True, "answered"),
        (False, "malformed"),
        (False, "failed"),
    ]


def test_shadows_take_only_what_is_spare(stages, item_table):
    trialled = Trialled(stages, item_table, shadowing=(RANKING,))
    trialled.challengers.ranking.delay_s = 0.02

    async def run():
        trialled.has_room = False
        await trialled.asked()
        await asyncio.sleep(0.002)
        without_room = trialled.challengers.ranking.calls
        trialled.has_room = True
        for _ in range(5):
            await trialled.asked()
        await asyncio.sleep(0.002)
        at_once = trialled.challengers.ranking.calls
        await trialled.shadows.close()
        return without_room, at_once

    assert asyncio.run(run()) == (0, 2)
    assert trialled.shadowed == []


def test_new_users_are_answered_by_challengers_of_cold_start(stages, item_table):
    answer = Trialled(stages, item_table, COLD_START).recommend(NEW)
    assert answer.roles[COLD_START] is ServingRole.CHALLENGER
    assert answer.model_versions[COLD_START] == CHALLENGER_VERSION + 1
    assert answer.seed is not None
