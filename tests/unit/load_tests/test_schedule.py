"""What is asked and when."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from services.recommendations.load_tests.schedule import LoadSettings, Schedule
from streamrec.contracts.errors import InvalidInputError

LOAD = LoadSettings(rps=200.0, duration_s=40.0, warm_up_s=10.0)


def test_requests_come_as_a_poisson_process_of_the_rate_asked_for() -> None:
    times_s = Schedule.plan(LOAD).times_s
    gaps = np.diff(times_s)
    assert len(times_s) == pytest.approx(200 * 50, rel=0.05)
    assert (gaps > 0.0).all()
    assert 45.0 < times_s[-1] < 50.0
    # Exponential gaps: the spread is the mean, and a third of them are longer than it.
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)
    assert (gaps > gaps.mean()).mean() == pytest.approx(np.exp(-1.0), abs=0.02)


def test_the_same_seed_plans_the_same_and_another_one_something_else() -> None:
    first, again, other = (Schedule.plan(load) for load in (LOAD, LOAD, replace(LOAD, seed=2)))
    for name in ("times_s", "known", "users", "with_event", "segments"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.times_s[:100], other.times_s[:100])


def test_the_shares_of_known_users_and_of_events_are_those_asked_for() -> None:
    schedule = Schedule.plan(LOAD)
    assert schedule.known.mean() == pytest.approx(0.7, abs=0.03)
    assert schedule.with_event.mean() == pytest.approx(0.1, abs=0.02)


def test_known_users_are_those_of_the_world_and_new_ones_come_once_and_say_where_they_live() -> None:
    schedule = Schedule.plan(LOAD)
    bodies = [json.loads(schedule.body(number, LOAD)) for number in range(len(schedule))]
    known = [body for body, is_known in zip(bodies, schedule.known, strict=True) if is_known]
    new = [body for body, is_known in zip(bodies, schedule.known, strict=True) if not is_known]
    assert {body["k"] for body in bodies} == {20}
    assert all(0 <= int(body["user_id"].removeprefix("user-")) < LOAD.user_count for body in known)
    assert len({body["user_id"] for body in new}) == len(new)
    assert all(set(body["context"]) == {"country", "language"} for body in new)
    other = Schedule.plan(replace(LOAD, seed=2))
    first_new = int(np.flatnonzero(~other.known)[0])
    assert other.user_id(first_new, 2) not in {body["user_id"] for body in new}


def test_settings_come_back_from_json_and_are_refused_by_name_where_out_of_range() -> None:
    assert LoadSettings.from_json(json.loads(json.dumps(LOAD.to_json()))) == LOAD
    for field, value in (("rps", 0.0), ("duration_s", -1.0), ("known_share", 1.5), ("connections", 2000)):
        with pytest.raises(InvalidInputError, match=field):
            replace(LOAD, **{field: value})
