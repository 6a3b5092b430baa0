from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from streamrec.contracts.rollouts.evidence import StepEvidence
from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.contracts.rollouts.tallies import Answers
from streamrec.rollout.driving.course import Stretch, course_of
from streamrec.rollout.driving.moments import Moments
from tests.made_rollouts import BEGAN, a_rollout, after


def at(phase, minutes, step=0, **fields):
    return replace(a_rollout(), phase=phase, step=step, phase_began_at=after(minutes), **fields)


def test_a_course_has_each_step_once_with_its_beginning_and_end():
    canary = RolloutPhase.CANARY
    states = [
        at(RolloutPhase.PREPARING, 0),
        at(RolloutPhase.SHADOW, 1),
        at(canary, 2),
        at(canary, 2, paused=True),
        at(canary, 2),
        at(canary, 9, step=1),
        at(RolloutPhase.WATCH, 12),
        at(RolloutPhase.COMPLETED, 20),
    ]
    assert course_of(states) == (
        Stretch(RolloutPhase.SHADOW, 0, after(1), after(2)),
        Stretch(canary, 1_000, after(2), after(9)),
        Stretch(canary, 5_000, after(9), after(12)),
        Stretch(RolloutPhase.WATCH, 0, after(12), after(20)),
    )
    assert course_of(states[:1]) == ()
    assert course_of(states[:3])[-1] == Stretch(canary, 1_000, after(2), None)


CANARY = Stretch(RolloutPhase.CANARY, 1_000, BEGAN, None)


def counts(asked):
    return StepEvidence(1_000, challenger=Answers(asked=asked))


def test_moments_lie_about_twice_as_far_back_each():
    moments = Moments()
    for second in range(0, 200 * 60, 30):
        found = moments.earlier("r-1", "s", CANARY, counts(second), BEGAN + timedelta(seconds=second))
    ages = [199 - one.number for one in found]
    assert ages == sorted(ages, reverse=True)
    assert len(ages) == 8
    for age, least in zip(ages[::-1], (1, 2, 4, 8, 16, 32, 64, 128), strict=True):
        assert least <= age < 2 * least
    assert all(one.challenger.asked == 60 * one.number for one in found)  # the first look of its minute


def test_a_moment_is_that_of_its_step_and_a_clock_that_is_set_back_makes_none():
    moments = Moments()
    for minute in (1, 2, 3):
        found = moments.earlier("r-1", "s", CANARY, counts(minute), after(minute))
    assert [one.number for one in found] == [1, 2]
    assert moments.earlier("r-1", "s", CANARY, counts(9), after(-5)) == ()
    found = moments.earlier("r-1", "s", CANARY, counts(4), after(4))
    assert [one.challenger.asked for one in found] == [2, 3]
    another = replace(CANARY, weight_bp=5_000, start=after(4))
    assert moments.earlier("r-1", "s", another, counts(1), after(6)) == ()
    moments.keep_only([])
    assert moments.earlier("r-1", "s", another, counts(1), after(7)) == ()
