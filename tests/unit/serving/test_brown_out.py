"""Doing less before refusing: step by step, back by itself, and without going to and fro."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.serving.brown_out import BrownOut, BrownOutSettings
from streamrec.serving.load_control import LoadControl
from tests.unit.serving.busy_loop import BusyLoop, poisson


def fed(brown_out, share, seconds, start_s=0.0):
    """A request every 10 ms that finds the service so full; returns the levels on the way and the time."""
    levels, now_s = [], start_s
    for _ in range(int(seconds * 100)):
        now_s += 0.01
        brown_out.observe(share, now_s)
        levels.append(brown_out.level)
    return levels, now_s


def steps(levels):
    """The levels without repetitions."""
    return [level for place, level in enumerate(levels) if place == 0 or level != levels[place - 1]]


def test_steps_are_taken_one_by_one_as_pressure_rises():
    levels, _ = fed(BrownOut(), 1.0, 3.0)
    assert steps(levels) == [0, 1, 2]
    assert levels.index(2) - levels.index(1) >= 100  # a second, in which the first one may help


@pytest.mark.parametrize(("share", "level"), [(0.2, 0), (0.4, 1), (0.6, 2)])
def test_how_far_depends_on_the_pressure(share, level):
    brown_out = BrownOut()
    fed(brown_out, share, 5.0)
    assert (brown_out.level, brown_out.pressure) == (level, pytest.approx(share, abs=0.01))


def test_a_burst_is_no_pressure():
    brown_out = BrownOut()
    _, now_s = fed(brown_out, 0.1, 1.0)
    fed(brown_out, 1.0, 0.1, now_s)
    assert brown_out.level == 0


def test_between_the_thresholds_a_level_stays():
    brown_out = BrownOut()
    _, now_s = fed(brown_out, 1.0, 3.0)
    levels, _ = fed(brown_out, 0.3, 60.0, now_s)
    assert steps(levels) == [2]


def test_it_goes_back_step_by_step_when_it_has_been_calm_for_long_enough():
    brown_out = BrownOut()
    _, now_s = fed(brown_out, 1.0, 3.0)
    levels, _ = fed(brown_out, 0.1, 10.0, now_s)
    assert steps(levels) == [2, 1, 0]
    assert levels.index(1) >= 200
    assert levels.index(0) <= 800  # normal again within eight seconds


def test_a_rise_in_between_begins_the_calm_anew():
    brown_out = BrownOut()
    _, now_s = fed(brown_out, 1.0, 3.0)
    for _ in range(5):
        _, now_s = fed(brown_out, 0.1, 1.5, now_s)
        _, now_s = fed(brown_out, 0.45, 1.0, now_s)
    assert brown_out.level == 2


def test_where_nobody_came_for_long_what_was_is_over():
    brown_out = BrownOut()
    _, now_s = fed(brown_out, 1.0, 3.0)
    brown_out.observe(0.0, now_s + 3.0)
    assert brown_out.level == 0
    assert brown_out.pressure < 0.01


@given(
    st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 10.0, allow_nan=False)), max_size=200),
)
@settings(max_examples=50, deadline=None)
def test_whatever_comes_levels_and_pressure_stay_in_bounds(observed):
    brown_out, now_s, before = BrownOut(), 0.0, 0
    for share, later_s in observed:
        now_s += later_s
        brown_out.observe(share, now_s)
        assert 0 <= brown_out.level <= 2
        assert brown_out.level <= before + 1
        assert 0.0 <= brown_out.pressure <= 1.0
        before = brown_out.level


@pytest.mark.parametrize(
    "wrong",
    [
        {"rises_at": (0.2, 0.5), "falls_at": 0.2},
        {"rises_at": (0.6, 0.5)},
        {"rises_at": (0.6, 1.1)},
        {"falls_at": 0.0},
        {"calm_s": 0.0},
        {"memory_s": float("inf")},
    ],
    ids=str,
)
def test_settings_without_hysteresis_or_time_are_refused(wrong):
    with pytest.raises(ValueError, match=r"brown-out|above 0"):
        BrownOutSettings(**wrong)


LEVEL_COSTS = (1.0, 0.75, 0.6)
"""What a request costs at each level, of what it costs in full."""


def loaded(times, until_s, brown_out=None, calm_until_s=0.0):
    """A loop under so many times its capacity: its outcome and the levels, by time."""
    clock = [0.0]
    load = LoadControl(brown_out=brown_out, clock=lambda: clock[0])
    loop = BusyLoop(load.limit, 0.005, admission=load.admission, clock=clock)
    levels = []

    def cost(now_s):
        levels.append((now_s, load.brown_out.level))
        return LEVEL_COSTS[load.brown_out.level]

    arrivals = poisson(times * 200.0, 0.0, until_s) + poisson(60.0, until_s, until_s + calm_until_s)
    return loop.run(arrivals, slowed=cost), levels


NEVER = BrownOutSettings(rises_at=())


def test_what_would_be_refused_in_full_is_answered_with_less():
    with_it, _ = loaded(1.25, 6.0)
    without, _ = loaded(1.25, 6.0, NEVER)
    assert without.refusals(2.0, 6.0) > 150  # of a thousand
    assert with_it.refusals(2.0, 6.0) <= 30


def test_a_constant_load_does_not_make_it_go_to_and_fro():
    _, levels = loaded(1.25, 20.0)
    taken = steps([level for _, level in levels])
    assert len(taken) <= 8  # in twenty seconds


def test_an_ordinary_load_is_served_in_full():
    _, levels = loaded(0.6, 6.0)
    assert {level for _, level in levels} == {0}


def test_after_an_overload_all_is_done_again_within_ten_seconds():
    _, levels = loaded(3.0, 4.0, calm_until_s=10.0)
    assert max(level for now_s, level in levels if now_s < 4.0) == 2
    assert {level for now_s, level in levels if now_s > 13.0} == {0}
