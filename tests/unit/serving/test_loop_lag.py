from __future__ import annotations

import asyncio

import pytest

from streamrec.serving.loop_lag import LoopLag


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def measured(busy_s):
    """The lag before, during and just after the loop was busy, and whether it went away by itself."""
    clock = Clock()
    lag = LoopLag(period_s=0.001, clock=clock)

    async def run():
        lag.start()
        before_ms = lag.current_ms()
        clock.now_s += busy_s
        during_ms = lag.current_ms()
        for _ in range(1_000):
            if lag.current_ms() == 0.0:
                break
            await asyncio.sleep(0.001)
        return before_ms, during_ms, lag.current_ms()

    return asyncio.run(run())


def test_a_busy_loop_is_late_by_as_long_as_it_was_busy_and_recovers():
    before_ms, during_ms, after_ms = measured(busy_s=0.05)
    assert before_ms == 0.0
    assert during_ms == pytest.approx(48.0)  # a period of 1 ms and the timers' own error of 1 ms less
    assert after_ms == 0.0


def test_an_idle_loop_is_not_late():
    assert measured(busy_s=0.0015) == (0.0, 0.0, 0.0)


def test_the_last_look_counts_until_the_next_one():
    clock = Clock()
    lag = LoopLag(period_s=0.01, clock=clock)

    async def run():
        lag.start()
        clock.now_s += 0.03
        lag._look(asyncio.get_running_loop())
        return lag.current_ms()

    assert asyncio.run(run()) == pytest.approx(19.0)


def test_nothing_is_measured_before_the_start_and_after_the_stop():
    clock = Clock()
    lag = LoopLag(clock=clock)

    async def run():
        never_ms = lag.current_ms()
        lag.start()
        clock.now_s += 1.0
        lag.stop()
        return never_ms, lag.current_ms()

    assert asyncio.run(run()) == (0.0, 0.0)
