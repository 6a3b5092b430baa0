from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from services.recommendations.contracts.rungs import Rung
from services.recommendations.contracts.stages import RANKING, SLOTS, Pin
from services.recommendations.gateway.asked_counts import AskedCounts, ShadowLog
from services.recommendations.gateway.metrics import RecommendationMetrics
from services.recommendations.pipeline.pipeline import PipelineAnswer
from services.recommendations.pipeline.trace import AskedVersion
from services.recommendations.pipeline.trials import ShadowAnswer
from streamrec.contracts.slots import ServingRole
from streamrec.events.async_event_log import AsyncEventLog
from streamrec.events.memory_event_log import MemoryEventLog
from streamrec.serving.counting.served_counts import AskedOutcome, ServedCounts

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHAMPION = Pin(RANKING, 1, ServingRole.CHAMPION, "trial", 1_000)
CHALLENGER = Pin(RANKING, 2, ServingRole.CHALLENGER, "trial", 1_000)
SHADOW = Pin(RANKING, 2, ServingRole.SHADOW, "trial", 0)


@pytest.fixture
def counts() -> ServedCounts:
    return ServedCounts("server")


@pytest.fixture
def asked(counts) -> AskedCounts:
    return AskedCounts(counts, RecommendationMetrics())


def answer(*asked, rung=Rung.RANKED, skipped=()):
    return PipelineAnswer(("x",), (1.0,), rung, False, skipped, (), {}, {}, asked=asked)


def rows(counts):
    return {row.role: row.answers for row in counts.tally(lambda: NOW).rows}


def test_a_request_counts_for_whom_it_was_assigned_to(counts, asked):
    failed = AskedVersion(RANKING, CHALLENGER, None, AskedOutcome.FAILED, 3.0)
    instead = AskedVersion(RANKING, CHAMPION, 1, AskedOutcome.ANSWERED, 2.0, 1.0, instead=True)
    asked.answer(answer(failed, instead))
    assert {role: answers.asked for role, answers in rows(counts).items()} == {ServingRole.CHALLENGER: 1}
    assert rows(counts)[ServingRole.CHALLENGER].failed == 1


def test_less_than_there_should_be_counts_for_all_who_took_part(counts, asked):
    well = AskedVersion(RANKING, CHAMPION, 1, AskedOutcome.ANSWERED, 2.0, 1.0)
    asked.answer(answer(well))
    asked.answer(answer(well, skipped=("reranking",)))
    asked.answer(answer(AskedVersion(RANKING, CHAMPION, None, AskedOutcome.LATE, 70.0), rung=Rung.STATIC))
    found = rows(counts)[ServingRole.CHAMPION]
    assert (found.asked, found.degraded, found.late) == (3, 2, 1)


def test_versions_that_no_document_names_are_in_no_tally(counts, asked):
    asked.answer(answer(AskedVersion(RANKING, None, 1, AskedOutcome.ANSWERED, 2.0, 1.0)))
    assert rows(counts) == {}


@pytest.mark.parametrize(("erased", "logged"), [(False, 1), (True, 0)])
def test_a_shadow_is_counted_and_leaves_a_prediction(counts, asked, erased, logged):
    store = MemoryEventLog()

    async def run():
        log = AsyncEventLog(store)
        shadows = ShadowLog(asked, log, lambda _unit: erased, lambda: NOW)
        note = AskedVersion(RANKING, SHADOW, 2, AskedOutcome.ANSWERED, 5.0, 1.0)
        shadows.note(ShadowAnswer("r", "u", 7, note, disagreed=True, item_ids=("x", "y")))
        gone = AskedVersion(RANKING, SHADOW, None, AskedOutcome.FAILED, 5.0)
        shadows.note(ShadowAnswer("s", "u", 7, gone, disagreed=False, item_ids=()))
        await log.close()

    asyncio.run(run())
    found = rows(counts)[ServingRole.SHADOW]
    assert (found.asked, found.disagreed, found.failed) == (2, 1, 1)
    predictions = store.snapshot().predictions
    assert len(predictions) == logged
    for told in predictions:
        assert (told.slot, told.role, told.version) == (
            SLOTS[RANKING],
            ServingRole.SHADOW,
            "recommendations-ranking@2",
        )
        assert told.output == {"item_ids": ["x", "y"], "disagreed": True}
