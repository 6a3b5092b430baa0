from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.callers.limits import Admitted, CallerLimits, LimitReached, OverLimit
from streamrec.contracts.callers import CallerLimit


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def limits(clock):
    return CallerLimits(clock)


def limit(requests_per_s=10.0, burst=3, in_flight=None):
    return CallerLimit(requests_per_s=requests_per_s, burst=burst, maximum_in_flight=in_flight)


LIMIT = limit()


def taken(limits, times, held=LIMIT, name="spoke"):
    return sum(isinstance(limits.admit(name, held), Admitted) for _ in range(times))


def test_a_burst_passes_and_then_the_rate(limits, clock):
    assert taken(limits, 10) == 3
    clock.now_s += 0.1
    assert taken(limits, 10) == 1
    clock.now_s += 0.2
    assert taken(limits, 10) == 2
    clock.now_s += 1e9
    assert taken(limits, 10) == 3


def test_what_is_too_much_is_told_when_to_come_back(limits, clock):
    taken(limits, 3)
    over = limits.admit("spoke", limit())
    assert over == OverLimit(LimitReached.RATE, pytest.approx(0.1))
    clock.now_s += over.retry_after_s
    assert taken(limits, 2) == 1


def test_a_refusal_costs_nothing(limits, clock):
    taken(limits, 3)
    for _ in range(100):
        limits.admit("spoke", limit())
    clock.now_s += 0.1
    assert taken(limits, 1) == 1


def test_callers_do_not_take_each_others_share(limits):
    assert taken(limits, 100, name="wild") == 3
    assert taken(limits, 3, name="tame") == 3


def test_who_has_no_limit_is_never_refused(limits):
    assert taken(limits, 10_000, held=None) == 10_000


def test_only_so_many_are_under_way(limits):
    held = limit(burst=100, in_flight=2)
    first, second = (limits.admit("spoke", held) for _ in range(2))
    assert limits.admit("spoke", held) == OverLimit(LimitReached.IN_FLIGHT, 1.0)
    assert isinstance(limits.admit("other", held), Admitted)
    first.done()
    assert taken(limits, 5, held) == 1
    second.done()
    assert taken(limits, 5, held) == 1


def test_a_changed_limit_counts_at_once_and_keeps_what_is_under_way(limits):
    held = limit(burst=100, in_flight=2)
    under_way = [limits.admit("spoke", held) for _ in range(2)]
    narrower = limit(burst=1, in_flight=1)
    assert taken(limits, 5, narrower) == 0
    for one in under_way:
        one.done()
    assert taken(limits, 5, narrower) == 1
    assert taken(limits, 5, limit(burst=5)) == 5


@settings(max_examples=40)
@given(
    rate=st.floats(0.1, 1000.0),
    burst=st.integers(1, 50),
    pauses_s=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60),
)
def test_never_more_than_the_burst_and_the_rate(rate, burst, pauses_s):
    clock = Clock()
    limits = CallerLimits(clock)
    started_s = clock.now_s
    passed = 0
    for pause_s in pauses_s:
        clock.now_s += pause_s
        passed += taken(limits, 5, limit(rate, burst))
    assert passed <= burst + rate * (clock.now_s - started_s) + 1e-6
