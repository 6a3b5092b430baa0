from __future__ import annotations

import asyncio
import math

import pytest

from streamrec.contracts.errors import DeadlineExceededError
from streamrec.serving.deadline import Deadline, call_within, remaining_of_call_ms


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def test_time_runs_down_and_stops_at_zero():
    clock = Clock()
    deadline = Deadline.after_ms(80.0, clock)
    assert deadline.remaining_ms() == 80.0
    clock.now_s += 0.05
    assert deadline.elapsed_ms() == pytest.approx(50.0)
    assert deadline.remaining_ms() == pytest.approx(30.0)
    deadline.check("ranking")
    assert not deadline.expired
    clock.now_s += 1.0
    assert deadline.remaining_ms() == 0.0
    assert deadline.expired
    with pytest.raises(DeadlineExceededError, match="ranking: 1050 ms spent of a budget of 80 ms"):
        deadline.check("ranking")


def test_a_stage_gets_what_is_left_after_the_reserve():
    clock = Clock()
    deadline = Deadline.after_ms(100.0, clock)
    assert deadline.share_ms(20.0) == 20.0
    clock.now_s += 0.07
    assert deadline.share_ms(50.0, reserve_ms=10.0) == pytest.approx(20.0)
    clock.now_s += 0.025
    assert deadline.share_ms(50.0, reserve_ms=10.0) == 0.0


@pytest.mark.parametrize("budget_ms", [-1.0, math.inf, math.nan])
def test_nothing_may_wait_for_ever(budget_ms):
    with pytest.raises(ValueError, match="finite"):
        Deadline.after_ms(budget_ms)


@pytest.mark.parametrize(
    ("budget_ms", "spent_ms"), [(100.0, 20.0), (50.0, 70.0), (20.0, 100.0), (1000.0, 0.0)]
)
def test_what_is_left_is_told_as_time_spent_of_another_budget(budget_ms, spent_ms):
    clock = Clock()
    deadline = Deadline.after_ms(budget_ms, clock)
    clock.now_s += 0.02
    assert deadline.spent_of_ms(100.0) == pytest.approx(spent_ms)


def test_a_call_knows_its_own_time_and_no_other_calls():
    clock = Clock()

    async def call(budget_ms):
        with call_within(Deadline.after_ms(budget_ms, clock)):
            await asyncio.sleep(0)
            left_ms = remaining_of_call_ms()
        return left_ms, remaining_of_call_ms()

    async def run():
        return await asyncio.gather(call(10.0), call(20.0))

    assert asyncio.run(run()) == [(10.0, math.inf), (20.0, math.inf)]


def test_the_time_of_a_call_runs_down():
    clock = Clock()
    with call_within(Deadline.after_ms(10.0, clock)):
        clock.now_s += 0.004
        assert remaining_of_call_ms() == pytest.approx(6.0)
        with call_within(Deadline.after_ms(2.0, clock)):
            assert remaining_of_call_ms() == 2.0
        clock.now_s += 1.0
        assert remaining_of_call_ms() == 0.0
