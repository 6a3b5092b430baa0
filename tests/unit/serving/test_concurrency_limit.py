"""The limit by itself, and in a simulated event loop that is asked for more than it can do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.serving.concurrency_limit import ConcurrencyLimit, LimitSettings
from tests.unit.serving.busy_loop import BusyLoop, poisson

SERVICE_S = 0.005
CAPACITY = 1.0 / SERVICE_S
OVER_S = 6.0
IN_TIME_S = 0.11


def windows(limit, share, count=1, *, reached=False, start_s=0.0):
    """Feed so many whole windows of equal measurements; returns when the last one ended."""
    now_s = start_s
    for _ in range(count):
        if reached:
            limit.reached()
        for _ in range(10):
            now_s += 0.02
            limit.measured(share, now_s)
    return now_s


def test_nothing_measured_nothing_moved():
    assert ConcurrencyLimit().current == 16


def test_slow_answers_lower_the_limit_in_proportion_and_at_most_by_half():
    limit = ConcurrencyLimit()
    now_s = windows(limit, 50.0, reached=True)
    assert limit.current == 8
    now_s = windows(limit, 0.7, reached=True, start_s=now_s)
    assert limit.current == 5  # 8 * 0.5 / 0.7
    windows(limit, 50.0, 20, reached=True, start_s=now_s)
    assert limit.current == 4


def test_it_grows_by_one_a_window_where_more_was_asked_for_and_there_was_time():
    limit = ConcurrencyLimit()
    now_s = windows(limit, 0.3, 5, reached=True)
    assert limit.current == 21
    now_s = windows(limit, 0.3, 5, start_s=now_s)
    assert limit.current == 21  # nobody asked for more: what it would be good for is not known
    windows(limit, 0.3, 200, reached=True, start_s=now_s)
    assert limit.current == 64


def test_after_an_overload_it_grows_back_to_where_it_began_without_being_asked():
    limit = ConcurrencyLimit()
    now_s = windows(limit, 2.0, 5, reached=True)
    assert limit.current == 4
    now_s = windows(limit, 0.5, 20, start_s=now_s)
    assert limit.current == 4  # there is no time to spare
    windows(limit, 0.1, 20, start_s=now_s)
    assert limit.current == 16


def test_slow_answers_are_no_reason_while_most_are_not():
    limit = ConcurrencyLimit()
    now_s = 0.0
    for number in range(200):
        now_s += 0.02
        limit.measured(0.9 if number % 10 < 4 else 0.1, now_s)
    assert limit.current == 16


def test_requests_that_need_long_without_a_queue_do_not_lower_the_limit():
    # A stage of 70 ms that nobody queues for: fewer at once would not make it faster.
    limit = ConcurrencyLimit()
    now_s = windows(limit, 0.7, 20)
    assert (limit.current, limit.tolerated) == (16, pytest.approx(0.8))
    windows(limit, 0.7, 10, reached=True, start_s=now_s)
    assert limit.current == 26


def test_what_a_queue_makes_of_requests_is_not_taken_for_what_they_need():
    limit = ConcurrencyLimit()
    now_s = windows(limit, 0.1)
    windows(limit, 0.7, 100, reached=True, start_s=now_s)
    assert limit.tolerated == pytest.approx(0.5)
    assert limit.current == 4


@given(
    st.lists(
        st.tuples(st.floats(0.0, 1e6, allow_nan=False), st.floats(0.0, 10.0, allow_nan=False), st.booleans()),
        max_size=300,
    )
)
@settings(max_examples=50, deadline=None)
def test_whatever_is_measured_the_limit_stays_between_its_bounds(measurements):
    limit, now_s = ConcurrencyLimit(), 0.0
    for share, later_s, reached in measurements:
        now_s += later_s
        if reached:
            limit.reached()
        limit.measured(share, now_s)
        assert 4 <= limit.current <= 64
        assert 0.5 <= limit.tolerated <= 0.8


@pytest.mark.parametrize(
    "wrong",
    [
        {"minimum": 0.0},
        {"initial": 3.0},
        {"maximum": 11.0},
        {"maximum": float("inf")},
        {"tolerated_share": 0.0},
        {"tolerated_share": 0.9},
        {"highest_share": 1.1},
        {"quantile": 1.0},
        {"memory": 1.0},
        {"window_requests": 0},
        {"window_s": 0.0},
        {"over_unloaded": 0.9},
    ],
    ids=str,
)
def test_settings_that_find_no_limit_are_refused(wrong):
    with pytest.raises(ValueError, match=r"limit|quantile|window"):
        LimitSettings(**wrong)


@pytest.mark.parametrize("times", [2.0, 5.0])
def test_beyond_capacity_what_is_accepted_is_in_time_and_the_rest_hears_so_at_once(times):
    arrivals = poisson(times * CAPACITY, 0.0, OVER_S) + poisson(0.6 * CAPACITY, OVER_S, OVER_S + 4.0)
    outcome = BusyLoop(ConcurrencyLimit(), SERVICE_S).run(arrivals)
    took_s = [took for at, took in outcome.answered if at < OVER_S]
    waited_s = [took for at, took in outcome.refused if at < OVER_S]
    assert outcome.goodput(0.0, OVER_S, IN_TIME_S) >= 0.9 * CAPACITY
    assert np.quantile(took_s, 0.99) <= 0.1
    assert np.quantile(waited_s, 0.99) <= 0.05
    # Back to normal: nothing is refused any more, and nothing is slow.
    assert outcome.refusals(OVER_S + 2.0, OVER_S + 4.0) == 0
    assert outcome.goodput(OVER_S + 2.0, OVER_S + 4.0, IN_TIME_S) >= 0.55 * CAPACITY


def test_without_a_limit_nothing_would_be_in_time():
    unlimited = ConcurrencyLimit(LimitSettings(10_000.0, 10_000.0, 10_000.0))
    outcome = BusyLoop(unlimited, SERVICE_S).run(poisson(2.0 * CAPACITY, 0.0, OVER_S))
    assert outcome.goodput(2.0, OVER_S, IN_TIME_S) == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_an_ordinary_load_with_its_bursts_is_not_refused(seed):
    arrivals = poisson(0.6 * CAPACITY, 0.0, 5.0, seed)
    outcome = BusyLoop(ConcurrencyLimit(), SERVICE_S, seed=seed).run(arrivals)
    assert len(outcome.refused) <= 0.005 * len(arrivals)


def test_a_machine_that_loses_half_of_its_speed_accepts_half_as_much():
    # As where something else takes a core from the third second to the sixth.
    outcome = BusyLoop(ConcurrencyLimit(), SERVICE_S).run(
        poisson(1.5 * CAPACITY, 0.0, 9.0), slowed=lambda now: 2.0 if 3.0 <= now < 6.0 else 1.0
    )
    assert outcome.goodput(3.0, 6.0, IN_TIME_S) >= 0.85 * CAPACITY / 2.0
    assert outcome.goodput(7.0, 9.0, IN_TIME_S) >= 0.9 * CAPACITY
