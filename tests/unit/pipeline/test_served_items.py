"""The catalogue that a request sees, and what it lets in of what stages find."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.contracts.rungs import Rung
from services.recommendations.contracts.stages import StageReply
from services.recommendations.pipeline.pipeline import RecommendationPipeline
from services.recommendations.pipeline.served_items import ServedItems
from services.recommendations.pipeline.stage_calls import CallSettings, GuardedCalls
from streamrec.contracts.items import Item
from streamrec.items.memory_item_log import MemoryItemLog
from streamrec.items.state import ItemState
from streamrec.serving.deadline import Deadline
from streamrec.serving.retry_budget import RetryBudget

TIMEOUTS_MS = dict.fromkeys(("retrieval", "cold_start", "ranking", "reranking"), 1000.0)


def state(*changes) -> ItemState:
    log = MemoryItemLog()
    log.append(changes)
    log.refresh()
    return log.current


@pytest.fixture
def imported(item_table) -> ServedItems:
    return ServedItems.from_item_table(item_table)


def test_known_items_are_those_of_the_import_and_of_the_log(imported):
    items = imported.as_of(state(Item("new"), "item-03", Item("item-04", "again"), "unheard-of"))
    expected = {f"item-{row:02d}" for row in range(30)} - {"item-03"} | {"new"}
    assert set(items.known) == expected
    assert len(items.known) == len(expected)
    assert "new" in items.known
    assert "item-03" not in items.known
    assert items.revision == 4
    assert imported.as_of(ItemState()).known is imported.known


def reply(*item_ids, revision=0):
    scores = -np.arange(len(item_ids), dtype=np.float32)
    return StageReply(Candidates(item_ids, scores), 1, item_revision=revision)


def test_removed_items_are_left_out_of_what_a_stage_found(imported):
    items = imported.as_of(state("item-01"))
    found = items.admitted(reply("item-00", "item-01", "item-02"))
    assert found.candidates.item_ids == ("item-00", "item-02")
    assert found.candidates.scores.tolist() == [0.0, -2.0]
    untouched = reply("item-00")
    assert items.admitted(untouched) is untouched


def test_only_a_stage_that_is_ahead_may_know_what_the_gateway_does_not(imported):
    ahead = imported.admitted(reply("item-00", "new", revision=1))
    assert ahead.candidates.item_ids == ("item-00",)
    stranger = imported.admitted(reply("item-00", "never heard of"))
    assert stranger.candidates.item_ids == ("item-00", "never heard of")  # for the check to refuse


def test_what_was_done_with_a_removed_item_still_counts(stages, imported):
    user = UserState("u", history=("item-01", "item-02", "never heard of"))

    def weight(items):
        calls = GuardedCalls(CallSettings(timeout_ms=TIMEOUTS_MS), RetryBudget())
        return RecommendationPipeline(stages.as_stages, lambda: items, calls).cold_start_weight(user)

    removed = imported.as_of(state("item-01"))
    assert "item-01" in removed.ever_known
    assert "item-01" not in removed.known
    assert weight(removed) == weight(imported)


def test_a_request_keeps_to_one_catalogue_and_says_which(stages, imported):
    versions = iter([imported.as_of(state("item-05")), imported])
    pipeline = RecommendationPipeline(
        stages.as_stages,
        lambda: next(versions),
        GuardedCalls(CallSettings(timeout_ms=TIMEOUTS_MS), RetryBudget()),
    )
    user = UserState("u", history=tuple(f"item-{row:02d}" for row in range(4)))

    def recommend():
        return asyncio.run(pipeline.recommend(user, 30, "r", Deadline.after_ms(1000.0)))

    answer = recommend()
    assert answer.rung is Rung.RANKED
    assert not answer.skipped
    assert "item-05" not in answer.item_ids
    assert answer.item_revision == 1
    assert set(answer.stage_item_revisions.values()) == {0}
    assert "item-05" in recommend().item_ids
