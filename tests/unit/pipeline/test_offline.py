from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.pipeline.hand_over import HandOver
from services.recommendations.pipeline.local_stages import LocalModels
from services.recommendations.pipeline.offline import OfflinePipeline, PipelineAsCatalogueRanker
from services.recommendations.pipeline.pipeline import PipelineSettings, RecommendationPipeline
from services.recommendations.pipeline.served_items import ServedItems
from services.recommendations.pipeline.stage_calls import CallSettings, GuardedCalls, UnusableAnswerError
from streamrec.serving.deadline import Deadline
from streamrec.serving.retry_budget import RetryBudget
from streamrec.training.splits import UserHistories

AT_ONCE = PipelineSettings(HandOver(kappa=0.05))
"""Complete with the first interaction: who has one takes one path, who has none the other."""
TIMEOUTS_MS = dict.fromkeys(("retrieval", "cold_start", "ranking", "reranking"), 1000.0)
KNOWN = UserState("u", Segment(), tuple(f"item-{row:02d}" for row in range(6)))


class InOrder:
    """Retrieves in order or by a draw; ranks odd items first; re-ranks by swapping the first two."""

    def __init__(self, item_ids):
        self.item_ids = item_ids

    def retrieve(self, user, count, rng=None):
        scores = np.linspace(1, 0, len(self.item_ids)) if rng is None else rng.random(len(self.item_ids))
        unseen = [row for row, item_id in enumerate(self.item_ids) if item_id not in user.history]
        found = Candidates.from_scores(tuple(self.item_ids[row] for row in unseen), scores[unseen])
        return Candidates(found.item_ids[:count], found.scores[:count])

    def rank(self, _user, candidates):
        scores = np.array([int(item_id[-2:]) % 2 for item_id in candidates.item_ids], dtype=np.float32)
        return Candidates.from_scores(candidates.item_ids, scores)

    def rerank(self, candidates, _user, current_latency_ms, *, slate_length):
        assert 1 <= slate_length <= len(candidates)
        assert current_latency_ms >= 0.0
        order = [1, 0, *range(2, len(candidates))]
        return Candidates(tuple(candidates.item_ids[row] for row in order), candidates.scores[order])


@pytest.fixture
def models(catalogue):
    model = InOrder(catalogue.item_ids)
    versions = dict.fromkeys(("retrieval", "cold_start", "ranking", "reranking"), 7)
    return LocalModels(model, model, model, model, versions)


@pytest.fixture
def offline(models, item_table):
    return OfflinePipeline(models, item_table)


def served(models, item_table, user, k, request_id):
    pipeline = RecommendationPipeline(
        lambda _user_id: models.as_stages(),
        lambda: ServedItems.from_item_table(item_table),
        GuardedCalls(CallSettings(timeout_ms=TIMEOUTS_MS), RetryBudget()),
    )

    async def run():
        return await pipeline.recommend(user, k, request_id, Deadline.after_ms(1000.0))

    return asyncio.run(run())


@pytest.mark.parametrize("length", [0, 1, 4, 5, 6])
def test_served_and_offline_answers_are_equal(offline, models, item_table, length):
    user = replace(KNOWN, history=KNOWN.history[:length])
    expected = offline.recommend(user, 10, "r-1")
    answer = served(models, item_table, user, 10, "r-1")
    assert (answer.item_ids, answer.scores, answer.rung) == (
        expected.item_ids,
        expected.scores,
        expected.rung,
    )
    assert answer.model_versions == expected.model_versions


def test_an_evaluated_list_begins_with_the_slate_that_is_served(models, item_table):
    chosen = []

    class Recording(InOrder):
        def rerank(self, candidates, user, current_latency_ms, *, slate_length):
            chosen.append(slate_length)
            return super().rerank(candidates, user, current_latency_ms, slate_length=slate_length)

    recording = OfflinePipeline(replace(models, reranking=Recording(models.ranking.item_ids)), item_table)
    histories = UserHistories(("u",), np.array([0, 5]), np.arange(5, dtype=np.int32), np.arange(5))
    lists = PipelineAsCatalogueRanker(recording, {}).top_items(np.array([0], dtype=np.int32), histories, 20)
    assert lists.shape == (1, 20)
    recording.recommend(KNOWN, 7, "r")
    assert chosen == [10, 7]


def test_it_works_inside_an_event_loop_too(offline):
    async def run():
        return offline.recommend(KNOWN, 5, "r")

    assert asyncio.run(run()) == offline.recommend(KNOWN, 5, "r")


def test_the_draw_of_a_new_user_belongs_to_user_request_and_version(offline, models, item_table):
    new = UserState("new")
    first = offline.recommend(new, 10, "r-1").item_ids
    assert offline.recommend(new, 10, "r-1").item_ids == first
    assert offline.recommend(new, 10, "r-2").item_ids != first
    assert offline.recommend(UserState("other"), 10, "r-1").item_ids != first
    newer = OfflinePipeline(replace(models, versions={**models.versions, "cold_start": 8}), item_table)
    assert newer.recommend(new, 10, "r-1").item_ids != first


def test_a_broken_model_is_an_error_not_a_degraded_answer(models, item_table):
    class Broken(InOrder):
        def rank(self, _user, candidates):
            return Candidates(candidates.item_ids, np.full(len(candidates), np.nan, dtype=np.float32))

    broken = OfflinePipeline(replace(models, ranking=Broken(models.ranking.item_ids)), item_table)
    with pytest.raises(UnusableAnswerError):
        broken.recommend(KNOWN, 5, "r")


def test_evaluation_adapter_returns_unseen_catalogue_rows(models, item_table, catalogue):
    offline = OfflinePipeline(models, item_table, AT_ONCE)
    histories = UserHistories(
        user_ids=("a", "b"),
        offsets=np.array([0, 6, 7]),
        items=np.array([0, 1, 2, 3, 4, 5, 9], dtype=np.int32),
        timestamps=np.arange(7),
    )
    top = PipelineAsCatalogueRanker(offline, {}).top_items(np.array([0, 1], dtype=np.int32), histories, 500)
    assert top.shape == (2, len(catalogue))
    assert top[0, :3].tolist() == [9, 7, 11]
    assert set(top[0, :24].tolist()) == set(range(6, 30))
    assert top[0, 24:].tolist() == [-1] * 6
    assert 9 not in top[1]


def test_evaluation_adapter_uses_segments(offline, catalogue):
    seen = {}

    class Spy(InOrder):
        def retrieve(self, user, count, rng=None):
            seen[user.user_id] = user.segment
            return super().retrieve(user, count, rng)

    spy = Spy(catalogue.item_ids)
    models = LocalModels(spy, spy, spy, spy, dict.fromkeys(TIMEOUTS_MS, 1))
    adapter = PipelineAsCatalogueRanker(OfflinePipeline(models, offline.items), {"a": Segment(language="fi")})
    histories = UserHistories(
        user_ids=("a", "b"),
        offsets=np.array([0, 1, 2]),
        items=np.array([0, 1], dtype=np.int32),
        timestamps=np.arange(2),
    )
    adapter.top_items(np.array([1, 0], dtype=np.int32), histories, 5)
    assert seen == {"a": Segment(language="fi"), "b": Segment()}
