from __future__ import annotations

import asyncio

import pytest

from services.recommendations.gateway.event_housekeeping import EventHousekeeping
from streamrec.contracts.errors import DependencyError
from streamrec.events.memory_event_log import MemoryEventLog


class Writer(MemoryEventLog):
    def __init__(self, done):
        super().__init__()
        self.done, self.calls = done, []

    def rotate_if_due(self):
        self.note("if due")

    def rotate(self):
        self.note("at once")

    def note(self, call):
        self.calls.append(call)
        if len(self.calls) >= 4:
            self.done()
        if len(self.calls) == 1:
            raise DependencyError("the disk fails")


class Erasures:
    """Somebody is erased before the third look."""

    def __init__(self):
        self.looks = 0

    def refresh(self):
        self.looks += 1
        return self.looks == 3


@pytest.fixture
def kept_house():
    async def run():
        reached = asyncio.Event()
        loop = asyncio.get_running_loop()
        writer = Writer(lambda: loop.call_soon_threadsafe(reached.set))
        forgotten = []
        housekeeping = EventHousekeeping(
            writer, Erasures(), lambda: forgotten.append(len(writer.calls)), interval_s=0.001
        )
        housekeeping.start()
        await asyncio.wait_for(reached.wait(), 10)
        await housekeeping.stop()
        ended_after = len(writer.calls)
        await asyncio.sleep(0.01)
        return writer.calls, forgotten, len(writer.calls) - ended_after

    return asyncio.run(run())


def test_segments_are_let_go_of_again_and_again_whatever_fails(kept_house):
    calls, _, after_the_end = kept_house
    assert calls[:2] == ["if due", "if due"]
    assert after_the_end == 0


def test_when_somebody_was_erased_caches_are_dropped_and_the_segment_let_go_of_at_once(kept_house):
    calls, forgotten, _ = kept_house
    assert calls[2:4] == ["at once", "if due"]
    assert forgotten == [2]
