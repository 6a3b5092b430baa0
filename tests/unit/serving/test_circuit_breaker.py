from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress

import numpy as np
import pytest

from streamrec.contracts.errors import DependencyError, NotFoundError
from streamrec.serving.circuit_breaker import CircuitBreaker, CircuitState


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return CircuitBreaker("the online store", failure_threshold=3, open_for_ms=1000.0, clock=clock)


def fail(breaker, error=DependencyError):
    with pytest.raises(error), breaker.guard():
        raise error("down")


def succeed(breaker):
    with breaker.guard():
        pass


def assert_refused(breaker):
    called = False
    with pytest.raises(DependencyError, match="the online store is not called"), breaker.guard():
        called = True
    assert not called


def test_it_opens_at_the_threshold_and_not_before(breaker):
    fail(breaker)
    fail(breaker, TimeoutError)
    assert breaker.state is CircuitState.CLOSED
    fail(breaker, ConnectionResetError)
    assert breaker.state is CircuitState.OPEN
    assert_refused(breaker)


def test_a_success_in_between_starts_the_count_again(breaker):
    for _ in range(5):
        fail(breaker)
        fail(breaker)
        succeed(breaker)
    assert breaker.state is CircuitState.CLOSED


def test_an_answer_that_says_no_is_an_answer(breaker):
    for _ in range(10):
        fail(breaker, NotFoundError)
    assert breaker.state is CircuitState.CLOSED


def test_an_excused_failure_counts_as_neither(breaker, clock):
    for _ in range(10):
        with pytest.raises(TimeoutError), breaker.guard(excused=(TimeoutError,)):
            raise TimeoutError
    assert breaker.state is CircuitState.CLOSED
    open_it(breaker)
    clock.now_s = 1.0
    with pytest.raises(TimeoutError), breaker.guard(excused=(TimeoutError,)):
        raise TimeoutError
    succeed(breaker)  # the place of the probe was given to the next call
    assert breaker.state is CircuitState.CLOSED


def opened(breaker, clock, failing_share, seed, calls=5_000):
    """Part of the time that it was open, at a call a millisecond."""
    rng = np.random.default_rng(seed)
    refused = 0
    for _ in range(calls):
        clock.now_s += 0.001
        try:
            with breaker.guard():
                if rng.random() < failing_share:
                    raise TimeoutError
        except TimeoutError:
            pass
        except DependencyError:
            refused += 1
    return refused / calls


def test_one_failing_replica_of_two_does_not_cost_the_other(clock):
    def breaker(judged_calls):
        return CircuitBreaker(
            "a stage", failure_threshold=5, judged_calls=judged_calls, open_for_ms=500.0, clock=clock
        )

    def mean(judged_calls):
        return np.mean([opened(breaker(judged_calls), clock, 0.5, seed=seed) for seed in range(8)])

    assert mean(5) > 0.9
    assert mean(20) < 0.25


def test_a_stage_that_is_gone_is_left_alone_soon(clock):
    judged = CircuitBreaker("a stage", failure_threshold=5, judged_calls=20, open_for_ms=500.0, clock=clock)
    fail_count = 0
    for _ in range(100):
        succeed(judged)
    while judged.state is CircuitState.CLOSED:
        fail(judged)
        fail_count += 1
    assert fail_count == 18
    clock.now_s += 0.5
    fail(judged)
    assert judged.state is CircuitState.OPEN


def test_more_failures_than_calls_make_no_sense():
    with pytest.raises(ValueError, match="fewer calls"):
        CircuitBreaker("a stage", failure_threshold=5, judged_calls=4)


def open_it(breaker):
    for _ in range(3):
        fail(breaker)


def test_one_probe_decides(breaker, clock):
    open_it(breaker)
    clock.now_s = 0.999
    assert_refused(breaker)
    clock.now_s = 1.0
    with breaker.guard():
        assert breaker.state is CircuitState.HALF_OPEN
        assert_refused(breaker)
    assert breaker.state is CircuitState.CLOSED
    succeed(breaker)


def test_of_many_at_once_one_is_the_probe(breaker, clock):
    open_it(breaker)
    clock.now_s = 1.0
    callers, called = 16, []
    together, all_tried = threading.Barrier(callers), threading.Event()

    def call():
        together.wait(10.0)
        with suppress(DependencyError), breaker.guard():
            called.append(None)
            all_tried.wait(10.0)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for _ in range(1_000):
        if sum(thread.is_alive() for thread in threads) == 1:
            break
        time.sleep(0.001)
    all_tried.set()
    for thread in threads:
        thread.join()
    assert len(called) == 1
    assert breaker.state is CircuitState.CLOSED


def test_of_many_on_one_loop_one_is_the_probe(breaker, clock):
    open_it(breaker)
    clock.now_s = 1.0
    called = []

    async def call():
        with breaker.guard():
            called.append(None)
            await asyncio.sleep(0)

    async def run():
        return await asyncio.gather(*(call() for _ in range(20)), return_exceptions=True)

    refused = [outcome for outcome in asyncio.run(run()) if isinstance(outcome, DependencyError)]
    assert (len(called), len(refused)) == (1, 19)


def test_a_failed_probe_opens_it_for_another_while(breaker, clock):
    open_it(breaker)
    clock.now_s = 1.5
    fail(breaker)
    assert breaker.state is CircuitState.OPEN
    clock.now_s = 2.4
    assert_refused(breaker)
    clock.now_s = 2.5
    succeed(breaker)
    assert breaker.state is CircuitState.CLOSED


def test_a_probe_that_never_reports_does_not_block_for_ever(breaker, clock):
    open_it(breaker)
    clock.now_s = 1.0
    lost = breaker.guard()
    lost.__enter__()
    assert_refused(breaker)
    clock.now_s = 2.0
    succeed(breaker)
    assert breaker.state is CircuitState.CLOSED


def test_a_cancelled_probe_gives_its_place_to_the_next_call(breaker, clock):
    open_it(breaker)
    clock.now_s = 1.0
    with pytest.raises(asyncio.CancelledError), breaker.guard():
        raise asyncio.CancelledError
    succeed(breaker)
    assert breaker.state is CircuitState.CLOSED


def test_a_late_answer_of_a_call_from_before_changes_nothing(breaker):
    slow = breaker.guard()
    slow.__enter__()
    open_it(breaker)
    slow.__exit__(None, None, None)
    assert breaker.state is CircuitState.OPEN
