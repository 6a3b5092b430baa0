"""Asking again and again on a thread of its own."""

from __future__ import annotations

import threading

import pytest

from streamrec.documents.polling import Poller


def test_polling_goes_on_until_it_is_stopped():
    calls, third = [], threading.Event()

    def refresh():
        calls.append(None)
        if len(calls) == 3:
            third.set()

    poller = Poller(refresh, interval_s=0.001, name="example")
    poller.start()
    assert third.wait(10.0)
    poller.stop()
    count = len(calls)
    assert not poller._thread.is_alive()
    assert len(calls) == count


def test_a_poller_that_was_never_started_can_be_stopped():
    Poller(lambda: None, interval_s=1.0, name="example").stop()


@pytest.mark.parametrize("interval_s", [0.0, -1.0, float("nan")])
def test_an_interval_is_above_zero(interval_s):
    with pytest.raises(ValueError, match="above 0"):
        Poller(lambda: None, interval_s=interval_s, name="example")
