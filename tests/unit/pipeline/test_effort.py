"""What is left out of a request where there is more to do than can be done in time."""

from __future__ import annotations

import asyncio

import pytest

from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.contracts.effort import EFFORTS, Effort
from services.recommendations.contracts.rungs import Rung
from services.recommendations.pipeline.hand_over import HandOver
from services.recommendations.pipeline.offline import OfflinePipeline
from services.recommendations.pipeline.pipeline import PipelineSettings, RecommendationPipeline
from services.recommendations.pipeline.served_items import ServedItems
from services.recommendations.pipeline.stage_calls import PlainCalls
from streamrec.serving.brown_out import BrownOutSettings
from streamrec.serving.deadline import Deadline

KNOWN = UserState("u", Segment(language="fi"), tuple(f"item-{row:02d}" for row in range(6)))
SETTINGS = PipelineSettings(HandOver(kappa=0.05), candidate_count=20, fewer_candidates=8)


def recommend(stages, item_table, effort, k=5, settings=SETTINGS):
    items = ServedItems.from_item_table(item_table)
    pipeline = RecommendationPipeline(stages.as_stages, lambda: items, PlainCalls(), settings)
    return asyncio.run(pipeline.recommend(KNOWN, k, "r", Deadline.after_ms(1000.0), effort=effort))


@pytest.mark.parametrize(
    ("effort", "candidates", "reranked"),
    [(Effort.FULL, 20, True), (Effort.FEWER_CANDIDATES, 8, True), (Effort.NO_RERANKING, 8, False)],
)
def test_each_step_leaves_out_more(stages, item_table, effort, candidates, reranked):
    answer = recommend(stages, item_table, effort)
    assert len(answer.candidates) == candidates
    assert stages.reranking.calls == reranked
    assert ("reranking" in answer.model_versions) == reranked
    assert (answer.effort, answer.degraded) == (effort, effort is not Effort.FULL)
    # Nothing was late or down, and the slate is a ranked one.
    assert (answer.rung, answer.skipped, len(answer.item_ids)) == (Rung.RANKED, (), 5)


def test_a_slate_is_never_shorter_for_it(stages, item_table):
    assert len(recommend(stages, item_table, Effort.NO_RERANKING, k=12).item_ids) == 12


def test_fewer_is_never_more(stages, item_table):
    few = PipelineSettings(HandOver(kappa=0.05), candidate_count=6, fewer_candidates=8)
    assert len(recommend(stages, item_table, Effort.FEWER_CANDIDATES, settings=few).candidates) == 6


def test_the_offline_pipeline_leaves_out_the_same(stages, item_table):
    offline = OfflinePipeline(stages.as_stages(), item_table, SETTINGS)
    for effort in Effort:
        served = recommend(stages, item_table, effort)
        assert offline.recommend(KNOWN, 5, "r", effort=effort).item_ids == served.item_ids


def test_every_step_of_a_brown_out_is_an_effort():
    assert len(EFFORTS) == 1 + len(BrownOutSettings().rises_at)
    assert EFFORTS[0] is Effort.FULL
