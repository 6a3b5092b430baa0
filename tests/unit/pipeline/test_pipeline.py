from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.contracts.empty_slates import EmptyReason
from services.recommendations.contracts.rungs import Rung
from services.recommendations.pipeline.hand_over import HandOver
from services.recommendations.pipeline.pipeline import PipelineSettings, RecommendationPipeline
from services.recommendations.pipeline.served_items import ServedItems
from services.recommendations.pipeline.stage_calls import CallSettings, GuardedCalls
from streamrec.contracts.errors import DependencyError, OverloadedError
from streamrec.serving.deadline import Deadline
from streamrec.serving.retry_budget import RetryBudget

KNOWN = UserState("u", Segment(language="fi"), tuple(f"item-{row:02d}" for row in range(6)))
AT_ONCE = PipelineSettings(HandOver(kappa=0.05))
"""Complete with the first interaction: who has one takes one path, who has none the other."""
TIMEOUTS_MS = dict.fromkeys(("retrieval", "cold_start", "ranking", "reranking"), 80.0)


def recommend(
    stages, item_table, user=KNOWN, k=5, *, budget_ms=1000.0, retries=None, requests=1, timeouts=None
):
    calls = GuardedCalls(
        CallSettings(timeout_ms=timeouts or TIMEOUTS_MS),
        retries or RetryBudget(ratio=0.0, initial_retries=0.0),
    )
    pipeline = RecommendationPipeline(
        stages.as_stages,
        lambda: ServedItems.from_item_table(item_table),
        calls,
        AT_ONCE,
    )

    async def run():
        answers = [
            await pipeline.recommend(user, k, "request", Deadline.after_ms(budget_ms))
            for _ in range(requests)
        ]
        return answers[-1]

    return asyncio.run(run())


def check_slate(answer, user, k):
    assert len(answer.item_ids) == k
    assert len(set(answer.item_ids)) == k
    assert not set(answer.item_ids) & set(user.history)
    assert len(answer.scores) == k
    assert np.isfinite(answer.scores).all()


def test_known_user_takes_the_whole_path(stages, item_table):
    answer = recommend(stages, item_table)
    assert answer.item_ids == ("item-08", "item-06", "item-10", "item-12", "item-14")
    assert answer.rung is Rung.RANKED
    assert not answer.degraded
    assert not answer.cold_start
    assert answer.model_versions == {"retrieval": 1, "ranking": 3, "reranking": 4}
    assert list(answer.stages_ms) == ["retrieval", "ranking", "reranking"]
    check_slate(answer, KNOWN, 5)


def test_user_without_history_is_not_ranked_and_not_degraded(stages, item_table):
    answer = recommend(stages, item_table, UserState("new"))
    assert stages.ranking.calls == 0
    assert answer.item_ids[:3] == ("item-28", "item-29", "item-27")
    assert answer.rung is Rung.RANKED
    assert not answer.degraded
    assert answer.model_versions == {"cold_start": 2, "reranking": 4}


def nan(candidates):
    scores = candidates.scores.copy()
    scores[1] = np.nan
    return Candidates(candidates.item_ids, scores)


def infinite(candidates):
    scores = candidates.scores.copy()
    scores[0] = np.inf
    return Candidates(candidates.item_ids, scores)


def shorter(candidates):
    return Candidates(candidates.item_ids[:-1], candidates.scores[:-1])


def repeated(candidates):
    return Candidates((candidates.item_ids[0], *candidates.item_ids[:-1]), candidates.scores)


def unknown(candidates):
    return Candidates(("nowhere", *candidates.item_ids[1:]), candidates.scores)


def unsorted(candidates):
    return Candidates(candidates.item_ids, candidates.scores[::-1].copy())


def wrong_score_count(candidates):
    broken = Candidates(candidates.item_ids, candidates.scores)
    object.__setattr__(broken, "scores", candidates.scores[:-1])
    return broken


def no_scores(candidates):
    broken = Candidates(candidates.item_ids, candidates.scores)
    object.__setattr__(broken, "scores", None)
    return broken


def seen(candidates):
    return Candidates((KNOWN.history[0], *candidates.item_ids[1:]), candidates.scores)


def nothing(_candidates):
    return Candidates((), np.empty(0, dtype=np.float32))


GARBAGE = [nan, infinite, repeated, unknown, unsorted, wrong_score_count, no_scores]
FAILURES = [DependencyError("down"), ValueError("a bug"), ConnectionError("reset")]


def by_name(fault):
    return getattr(fault, "__name__", type(fault).__name__)


@pytest.mark.parametrize("fault", [*GARBAGE, *FAILURES, seen, nothing], ids=by_name)
def test_without_candidates_popular_items_in_the_users_language_are_served(stages, item_table, fault):
    stages.retrieval.faults = [fault]
    answer = recommend(stages, item_table)
    assert answer.rung is Rung.POPULAR_IN_LANGUAGE
    assert answer.degraded
    assert answer.skipped == ("retrieval",)
    assert answer.item_ids == ("item-29", "item-26", "item-23", "item-20", "item-17")
    check_slate(answer, KNOWN, 5)


@pytest.mark.parametrize("fault", [*GARBAGE, *FAILURES, shorter], ids=by_name)
def test_without_the_ranker_retrieval_order_is_served(stages, item_table, fault):
    stages.ranking.faults = [fault]
    answer = recommend(stages, item_table)
    assert answer.rung is Rung.RETRIEVAL_ORDER
    assert answer.degraded
    assert answer.item_ids[:3] == ("item-07", "item-06", "item-08")
    assert "ranking" not in answer.model_versions
    check_slate(answer, KNOWN, 5)


@pytest.mark.parametrize("fault", [nan, infinite, repeated, unknown, shorter, *FAILURES], ids=by_name)
def test_without_the_reranker_the_ranked_order_is_served(stages, item_table, fault):
    stages.reranking.faults = [fault]
    answer = recommend(stages, item_table)
    assert answer.rung is Rung.RANKED
    assert answer.degraded
    assert answer.skipped == ("reranking",)
    assert answer.item_ids[:3] == ("item-06", "item-08", "item-10")


def test_popular_items_of_any_language_stand_in_for_an_unknown_one(stages, item_table):
    stages.retrieval.faults = [DependencyError("down")]
    answer = recommend(stages, item_table, replace(KNOWN, segment=Segment()))
    assert answer.rung is Rung.STATIC
    assert answer.item_ids[:2] == ("item-29", "item-28")


def test_user_who_has_seen_everything_still_gets_an_answer(stages, item_table):
    answer = recommend(stages, item_table, replace(KNOWN, history=item_table.catalogue.item_ids))
    assert len(answer.item_ids) == 5
    assert answer.rung is Rung.STATIC
    assert stages.retrieval.calls == 0


def test_who_has_seen_everything_is_not_shown_a_page_twice(stages, item_table):
    ids = item_table.catalogue.item_ids
    everything = replace(KNOWN, history=ids, disliked=ids[:2], shown=ids[2:27])
    assert set(recommend(stages, item_table, everything).item_ids) == set(ids[27:])
    shown = recommend(stages, item_table, replace(everything, shown=ids[2:]))
    assert shown.item_ids == ()
    assert shown.empty_reason is EmptyReason.EVERYTHING_FILTERED


def test_no_stage_and_no_rung_shows_an_item_of_an_earlier_page(stages, item_table):
    shown = recommend(stages, item_table).item_ids
    user = replace(KNOWN, shown=shown)
    stages.retrieval.faults = [lambda found: Candidates((*shown[:1], *found.item_ids[1:]), found.scores)]
    again = recommend(stages, item_table, user)
    assert "retrieval" in again.skipped
    assert not set(again.item_ids) & set(shown)


@pytest.mark.parametrize(
    ("late", "rung"), [("retrieval", Rung.POPULAR_IN_LANGUAGE), ("ranking", Rung.RETRIEVAL_ORDER)]
)
def test_a_late_stage_is_skipped_within_the_deadline(stages, item_table, late, rung):
    getattr(stages, late).delay_s = 5.0
    started = asyncio.new_event_loop()
    began = started.time()
    answer = recommend(stages, item_table, budget_ms=60.0)
    assert started.time() - began < 1.0
    started.close()
    assert answer.rung is rung
    assert late in answer.skipped


def test_no_stage_is_called_when_no_time_is_left(stages, item_table):
    answer = recommend(stages, item_table, budget_ms=0.0)
    assert stages.retrieval.calls == 0
    assert answer.rung is Rung.POPULAR_IN_LANGUAGE


def test_a_failure_that_may_pass_is_retried_once(stages, item_table):
    stages.ranking.faults = [DependencyError("replica died")]
    answer = recommend(stages, item_table, retries=RetryBudget(ratio=0.1, initial_retries=1.0))
    assert stages.ranking.calls == 2
    assert not answer.degraded


@pytest.mark.parametrize("fault", [ValueError("a bug"), nan], ids=by_name)
def test_a_failure_that_will_not_pass_is_not_retried(stages, item_table, fault):
    stages.ranking.faults = [fault]
    recommend(stages, item_table, retries=RetryBudget(ratio=0.1, initial_retries=1.0))
    assert stages.ranking.calls == 1


def test_retries_stay_within_their_budget(stages, item_table):
    stages.ranking.faults = [DependencyError("down")] * 1000
    calls = 100
    # Three calls a request fill the budget; a breaker that opens keeps most requests from calling at all.
    recommend(stages, item_table, requests=calls, retries=RetryBudget(ratio=0.1, initial_retries=1.0))
    assert stages.ranking.calls <= calls * 1.3 + 1


def test_a_stage_that_keeps_failing_is_left_alone(stages, item_table):
    stages.ranking.faults = [DependencyError("down")] * 1000
    answer = recommend(stages, item_table, requests=50)
    assert stages.ranking.calls == 5
    assert answer.rung is Rung.RETRIEVAL_ORDER


def test_slowness_upstream_does_not_open_the_circuit_of_a_stage_downstream(stages, item_table):
    """Retrieval leaves ranking too little time to answer, again and again: that is not ranking's fault."""
    calls = GuardedCalls(CallSettings(timeout_ms=dict.fromkeys(TIMEOUTS_MS, 500.0)), RetryBudget())
    pipeline = RecommendationPipeline(
        stages.as_stages, lambda: ServedItems.from_item_table(item_table), calls, AT_ONCE
    )
    stages.ranking.delay_s = 0.05

    async def run():
        short = [await pipeline.recommend(KNOWN, 5, "r", Deadline.after_ms(15.0)) for _ in range(10)]
        return short, await pipeline.recommend(KNOWN, 5, "r", Deadline.after_ms(1000.0))

    short, whole = asyncio.run(run())
    assert all("ranking" in answer.skipped for answer in short)
    assert not whole.degraded


def test_a_call_that_cannot_be_answered_is_not_begun(stages, item_table):
    recommend(stages, item_table, budget_ms=3.0 + 2.5)  # 3 ms are kept for writing the answer
    assert stages.retrieval.calls == 0


def test_a_stage_that_hangs_is_left_alone_for_all_that(stages, item_table):
    stages.ranking.delay_s = 5.0
    recommend(stages, item_table, requests=10, timeouts=dict.fromkeys(TIMEOUTS_MS, 20.0))
    assert stages.ranking.calls == 5


def test_our_own_full_queue_does_not_open_the_circuit(stages, item_table):
    stages.ranking.faults = [OverloadedError("its queue is full")] * 20
    recommend(stages, item_table, requests=20)
    assert stages.ranking.calls == 20
    assert not recommend(stages, item_table).degraded


def test_long_histories_lose_their_oldest_part(stages, item_table):
    history = (*(f"gone-{number}" for number in range(5000)), "item-06")
    answer = recommend(stages, item_table, replace(KNOWN, history=history))
    assert "item-06" not in answer.item_ids


def test_a_cancelled_request_does_not_open_the_circuit(stages, item_table):
    stages.retrieval.delay_s = 5.0
    calls = GuardedCalls(CallSettings(timeout_ms=dict.fromkeys(TIMEOUTS_MS, 10_000.0)), RetryBudget())
    pipeline = RecommendationPipeline(
        stages.as_stages,
        lambda: ServedItems.from_item_table(item_table),
        calls,
        AT_ONCE,
    )

    async def run():
        for _ in range(10):
            task = asyncio.create_task(pipeline.recommend(KNOWN, 5, "r", Deadline.after_ms(10_000.0)))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        stages.retrieval.delay_s = 0.0
        return await pipeline.recommend(KNOWN, 5, "r", Deadline.after_ms(1000.0))

    assert not asyncio.run(run()).degraded
