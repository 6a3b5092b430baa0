"""How long a stage may be waited for, and what one is taken for that turns a call down for want of time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from services.recommendations.pipeline.stage_calls import (
    CallSettings,
    GuardedCalls,
    StageRequest,
    StageSkippedError,
)
from streamrec.contracts.errors import DeadlineExceededError, DependencyError
from streamrec.serving.deadline import Deadline, remaining_of_call_ms
from streamrec.serving.retry_budget import RetryBudget

TIMEOUTS_MS = {"retrieval": 60.0, "cold_start": 60.0, "ranking": 70.0, "reranking": 50.0}
SETTINGS = CallSettings(timeout_ms=TIMEOUTS_MS, budget_ms=100.0)


def standing(budget_ms):
    """A deadline of a clock that stands still."""
    return Deadline.after_ms(budget_ms, clock=lambda: 0.0)


def call_of(answer):
    return StageRequest("ranking", answer, lambda _candidates: None)


@pytest.mark.parametrize(("budget_ms", "wait_ms"), [(100.0, 70.0), (50.0, 35.0), (1000.0, 700.0)])
def test_who_has_more_time_waits_longer_for_a_stage(budget_ms, wait_ms):
    assert SETTINGS.wait_ms("ranking", standing(budget_ms)) == pytest.approx(wait_ms)


def test_without_a_budget_every_request_waits_as_long():
    assert CallSettings(timeout_ms=TIMEOUTS_MS).wait_ms("ranking", standing(1000.0)) == 70.0


@pytest.mark.parametrize(("budget_ms", "left_ms"), [(100.0, 70.0), (50.0, 35.0), (5.0, None)])
def test_a_call_knows_what_it_may_take(budget_ms, left_ms):
    told = []

    async def answer():
        told.append(remaining_of_call_ms())
        raise DeadlineExceededError("over")

    calls = GuardedCalls(SETTINGS, RetryBudget())
    with pytest.raises(StageSkippedError):
        asyncio.run(calls(call_of(answer), standing(budget_ms)))
    # Of 5 ms, 3 stay for the answer: too little to begin anything.
    assert told == ([] if left_ms is None else [pytest.approx(left_ms)])


def test_a_stage_without_time_is_late_and_is_not_asked_again():
    tried, faults = [], []

    async def answer():
        tried.append(None)
        raise DeadlineExceededError("0 ms were left when its turn came")

    calls = GuardedCalls(SETTINGS, RetryBudget(initial_retries=5.0), lambda *fault: faults.append(fault))
    with pytest.raises(StageSkippedError, match="ranking is late") as skipped:
        asyncio.run(calls(call_of(answer), standing(100.0)))
    assert not skipped.value.failed
    assert (len(tried), faults) == (1, [])


def test_clients_in_a_hurry_do_not_open_the_circuit():
    async def answer():
        raise DeadlineExceededError("over")

    async def run():
        calls = GuardedCalls(SETTINGS, RetryBudget())
        for _ in range(50):
            with pytest.raises(StageSkippedError, match="is late"):  # and not: is not called
                await calls(call_of(answer), standing(40.0))
        for _ in range(50):
            with pytest.raises(StageSkippedError) as skipped:
                await calls(call_of(answer), standing(100.0))
        return str(skipped.value)

    assert "is not called" in asyncio.run(run())


def test_a_request_in_a_hurry_is_no_probe_of_an_open_circuit():
    asked = []

    async def answer():
        asked.append(None)
        raise DeadlineExceededError("over")

    async def run():
        calls = GuardedCalls(replace(SETTINGS, open_for_ms=0.001), RetryBudget())
        for _ in range(20):
            with pytest.raises(StageSkippedError):
                await calls(call_of(answer), standing(100.0))
        asked.clear()
        with pytest.raises(StageSkippedError, match="is left alone") as skipped:
            await calls(call_of(answer), standing(40.0))
        return skipped.value.failed

    assert asyncio.run(run())
    assert asked == []


def test_each_stage_has_a_retry_budget_of_its_own():
    tried = []

    async def fails():
        tried.append(None)
        raise DependencyError("gone")

    async def run():
        calls = GuardedCalls(SETTINGS, RetryBudget(ratio=0.1, initial_retries=1.0), lambda *_: None)
        for _ in range(2):
            for stage in ("retrieval", "ranking"):
                with pytest.raises(StageSkippedError):
                    await calls(StageRequest(stage, fails, lambda _candidates: None), standing(100.0))

    asyncio.run(run())
    assert len(tried) == 6  # one retry each, and none the second time
