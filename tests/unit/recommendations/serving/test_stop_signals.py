from __future__ import annotations

import os
import signal

import pytest

from services.recommendations.serving.stop_signals import StopSignals

BOTH = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def hasty():
    """What Ray's library does: a handler before ours, which calls ours and sets an alarm."""

    def take(number):
        ours = signal.getsignal(number)

        def abort_soon(received, frame):
            signal.alarm(60)
            ours(received, frame)

        signal.signal(number, abort_soon)

    yield take
    signal.alarm(0)


@pytest.mark.parametrize("number", BOTH)
def test_a_signal_is_heard_and_the_handlers_of_before_come_back(number):
    before = [signal.getsignal(each) for each in BOTH]
    with StopSignals() as signals:
        assert not signals.asked.is_set()
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert signals.asked.is_set()
    assert [signal.getsignal(each) for each in BOTH] == before


@pytest.mark.parametrize("number", BOTH)
def test_a_handler_that_came_before_ours_is_passed_over(number, hasty):
    with StopSignals() as signals:
        hasty(number)
        others = signal.getsignal(number)
        signals.listen()
        assert signal.getsignal(number) is not others


@pytest.mark.parametrize("number", BOTH)
def test_the_alarm_of_a_handler_that_was_first_is_taken_back(number, hasty):
    with StopSignals() as signals:
        hasty(number)
        os.kill(os.getpid(), number)
        assert signals.asked.is_set()
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0
