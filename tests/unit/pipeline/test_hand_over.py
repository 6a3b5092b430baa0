"""Cold start hands over to retrieval and ranking with every interaction, and never at once."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.contracts.rungs import Rung
from services.recommendations.pipeline.hand_over import HandOver, log_shares, merge, pooled_scores
from services.recommendations.pipeline.pipeline import PipelineSettings, RecommendationPipeline
from services.recommendations.pipeline.served_items import ServedItems
from services.recommendations.pipeline.stage_calls import CallSettings, GuardedCalls
from streamrec.contracts.errors import DependencyError, InvalidInputError
from streamrec.serving.deadline import Deadline
from streamrec.serving.retry_budget import RetryBudget

TIMEOUTS_MS = dict.fromkeys(("retrieval", "cold_start", "ranking", "reranking"), 200.0)


def user(length):
    return UserState("u", Segment(language="fi"), tuple(f"item-{row:02d}" for row in range(length)))


def recommend(stages, item_table, who, k=10, hand_over=HandOver()):  # noqa: B008 - immutable
    pipeline = RecommendationPipeline(
        stages.as_stages,
        lambda: ServedItems.from_item_table(item_table),
        GuardedCalls(CallSettings(timeout_ms=TIMEOUTS_MS), RetryBudget(ratio=0.0, initial_retries=0.0)),
        PipelineSettings(hand_over),
    )

    async def run():
        return await pipeline.recommend(who, k, "request", Deadline.after_ms(1000.0))

    return asyncio.run(run())


def ordered(*item_ids):
    return Candidates(item_ids, np.linspace(1.0, 0.0, len(item_ids), dtype=np.float32))


@given(kappa=st.floats(0.01, 100.0), negligible=st.floats(0.0, 0.5))
def test_the_weight_falls_from_one_to_nothing_without_a_jump(kappa, negligible):
    hand_over = HandOver(kappa, negligible)
    weights = np.array([hand_over.weight(n) for n in range(400)])
    assert weights[0] == 1.0
    assert (np.diff(weights) <= 0.0).all()
    # The first interaction takes the most; every later one takes less than the one before.
    steps = -np.diff(weights)
    assert (np.diff(steps) <= 1e-12).all()
    assert steps.max() <= 1.0 / ((1.0 + kappa) * (1.0 - negligible)) + 1e-12


def test_the_weight_reaches_zero_where_it_is_negligible():
    hand_over = HandOver(kappa=2.0, negligible=0.05)
    assert hand_over.weight(37) > 0.0
    assert hand_over.weight(38) == 0.0
    assert hand_over.weight(37) < 0.005


@pytest.mark.parametrize("settings", [{"kappa": 0.0}, {"kappa": float("nan")}, {"negligible": 1.0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InvalidInputError, match="hand_over"):
        HandOver(**settings)


def test_candidates_take_turns_in_proportion():
    cold, found = ordered(*(f"c{i}" for i in range(10))), ordered(*(f"r{i}" for i in range(10)))
    for weight in (0.1, 0.25, 0.5, 0.8):
        chosen = merge(cold, found, weight, 10)
        assert sum(item.startswith("c") for item in chosen) == pytest.approx(10 * weight, abs=0.5 + 1e-9)
    assert merge(cold, found, 1.0, 5) == cold.item_ids[:5]
    assert merge(cold, found, 0.0, 5) == found.item_ids[:5]


def test_an_item_that_both_found_stands_there_once_and_short_lists_are_filled_up():
    assert merge(ordered("a", "b"), ordered("a", "c", "d", "e"), 0.5, 10) == ("a", "c", "b", "d", "e")
    assert merge(ordered("a", "b", "c"), ordered("d"), 0.1, 10) == ("d", "a", "b", "c")
    assert merge(ordered("a"), ordered("b"), 0.9, 10) == ("a", "b")


def test_pooled_scores_are_the_logarithmic_opinion_pool():
    cold = Candidates(("a", "b", "c"), np.array([2.0, 1.0, 0.0], dtype=np.float32))
    ranked = Candidates(("c", "a", "b"), np.array([5.0, 4.0, 1.0], dtype=np.float32))
    pooled = pooled_scores(("a", "b", "c"), cold, ranked, 0.4)
    p = np.exp([2.0, 1.0, 0.0]) / np.exp([2.0, 1.0, 0.0]).sum()
    q = np.exp([4.0, 1.0, 5.0]) / np.exp([4.0, 1.0, 5.0]).sum()
    expected = dict(zip("abc", 0.4 * np.log(p) + 0.6 * np.log(q), strict=True))
    assert dict(zip(pooled.item_ids, pooled.scores.tolist(), strict=True)) == pytest.approx(
        expected, abs=1e-6
    )
    assert (np.diff(pooled.scores) <= 0.0).all()


def test_an_item_that_cold_start_did_not_return_counts_as_its_last():
    cold = Candidates(("a", "b"), np.array([3.0, 1.0], dtype=np.float32))
    ranked = Candidates(("new", "a", "b"), np.zeros(3, dtype=np.float32))
    pooled = pooled_scores(("new", "a", "b"), cold, ranked, 1.0)
    assert pooled.item_ids == ("a", "new", "b")
    assert pooled.scores[1] == pooled.scores[2]


def test_log_shares_do_not_overflow():
    shares = log_shares(np.array([1000.0, 0.0, -1000.0], dtype=np.float32))
    assert shares[0] == pytest.approx(0.0)
    assert np.isfinite(shares).all()


def test_without_interactions_cold_start_answers_alone(stages, item_table):
    answer = recommend(stages, item_table, UserState("new"))
    assert answer.cold_start
    assert not answer.degraded
    assert (stages.cold_start.calls, stages.retrieval.calls, stages.ranking.calls) == (1, 0, 0)


def test_items_that_nobody_knows_are_no_interactions(stages, item_table):
    assert recommend(stages, item_table, UserState("new", history=("gone", "lost"))).cold_start
    assert stages.retrieval.calls == 0


def test_with_few_interactions_both_answer(stages, item_table):
    answer = recommend(stages, item_table, user(2))
    assert (stages.cold_start.calls, stages.retrieval.calls, stages.ranking.calls) == (1, 1, 1)
    assert stages.cold_start.request_ids == ["request"]
    assert set(answer.model_versions) == {"retrieval", "cold_start", "ranking", "reranking"}
    assert answer.rung is Rung.RANKED
    assert not answer.degraded


def test_who_is_known_well_costs_one_call(stages, item_table):
    answer = recommend(stages, item_table, user(6), hand_over=HandOver(kappa=0.2))
    assert not answer.cold_start
    assert (stages.cold_start.calls, stages.retrieval.calls) == (0, 1)


def test_the_two_are_called_at_the_same_time(stages, item_table):
    """Cold start answers only once retrieval has been called; one after the other it would be late."""
    called = asyncio.Event()
    cold_start, retrieval = stages.cold_start.retrieve, stages.retrieval.retrieve

    async def waits(*arguments):
        await called.wait()
        return await cold_start(*arguments)

    async def calls(*arguments):
        called.set()
        return await retrieval(*arguments)

    stages.cold_start.retrieve, stages.retrieval.retrieve = waits, calls
    answer = recommend(stages, item_table, user(2))
    assert answer.skipped == ()
    assert {"cold_start", "retrieval"} <= set(answer.stages_ms)


@pytest.mark.parametrize(("down", "other"), [("cold_start", "retrieval"), ("retrieval", "cold_start")])
def test_where_one_side_fails_the_other_answers(stages, item_table, down, other):
    getattr(stages, down).faults = [DependencyError("down")]
    answer = recommend(stages, item_table, user(2))
    assert answer.skipped == (down,)
    assert answer.degraded
    assert answer.rung is Rung.RANKED
    assert down not in answer.model_versions
    assert other in answer.model_versions
    assert len(set(answer.item_ids)) == 10


def test_where_both_fail_popular_items_are_served(stages, item_table):
    stages.cold_start.faults = [DependencyError("down")]
    stages.retrieval.faults = [ValueError("a bug")]
    answer = recommend(stages, item_table, user(2))
    assert answer.skipped == ("retrieval", "cold_start")
    assert answer.rung is Rung.POPULAR_IN_LANGUAGE


def test_without_the_ranker_candidates_of_both_are_shown_in_turn(stages, item_table):
    stages.ranking.faults = [DependencyError("down")]
    stages.reranking.faults = [DependencyError("down")]
    answer = recommend(stages, item_table, user(2))
    assert answer.rung is Rung.RETRIEVAL_ORDER
    assert answer.skipped == ("ranking", "reranking")
    from_cold = {f"item-{row:02d}" for row in range(20, 30)}
    assert 3 <= len(from_cold & set(answer.item_ids)) <= 7


def test_the_order_changes_gradually_with_the_interactions(stages, item_table):
    """Where the two sides disagree, n and n + 1 interactions agree far more than 0 and many do."""
    stages.reranking.faults = [DependencyError("down")] * 100
    places = []
    for length in range(8):
        # The same unseen items each time, so that the orders can be compared.
        who = user(length)
        answer = recommend(stages, item_table, who, k=30)
        places.append({item_id: place for place, item_id in enumerate(answer.item_ids)})
    common = sorted(set.intersection(*(set(order) for order in places)))
    ranks = np.array([[order[item_id] for item_id in common] for order in places])
    neighbours = [spearmanr(ranks[n], ranks[n + 1]).statistic for n in range(1, 7)]
    assert min(neighbours) > 0.9
    assert spearmanr(ranks[0], ranks[7]).statistic < min(neighbours) - 0.2
