from __future__ import annotations

import math

import pytest

from streamrec.serving.load_control import LoadControl


def test_what_requests_take_is_held_against_the_objective():
    now_s = [0.0]
    load = LoadControl(200.0, clock=lambda: now_s[0])
    for _ in range(20):
        now_s[0] += 0.02
        load.done(190.0)
    assert load.limit.current < 16
    more = LoadControl(400.0, clock=lambda: now_s[0])
    for _ in range(20):
        now_s[0] += 0.02
        more.done(190.0)
    assert more.limit.current == 16


def test_who_finds_no_place_says_that_more_was_asked_for():
    now_s = [0.0]
    load = LoadControl(clock=lambda: now_s[0])
    while load.admission.take():
        pass
    for _ in range(20):
        now_s[0] += 0.02
        load.admission.has_room()
        load.done(5.0)
    assert load.limit.current > 16
    assert load.brown_out.pressure > 0.1


@pytest.mark.parametrize("objective_ms", [0.0, -1.0, math.inf, math.nan])
def test_an_objective_that_is_no_time_is_refused(objective_ms):
    with pytest.raises(ValueError, match="objective"):
        LoadControl(objective_ms)
