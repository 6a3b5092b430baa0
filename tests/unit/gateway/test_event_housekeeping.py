from __future__ import annotations

import asyncio

from services.recommendations.gateway.event_housekeeping import EventHousekeeping
from streamrec.contracts.errors import DependencyError
from streamrec.events.memory_event_log import MemoryEventLog


class Writer(MemoryEventLog):
    def __init__(self):
        super().__init__()
        self.rotations = 0
        self.reached = asyncio.Event()

    def rotate_if_due(self):
        self.rotations += 1
        if self.rotations == 1:
            raise DependencyError("the disk fails")
        if self.rotations == 3:
            self.loop.call_soon_threadsafe(self.reached.set)


def test_segments_are_sealed_again_and_again_whatever_fails():
    async def run():
        writer = Writer()
        writer.loop = asyncio.get_running_loop()
        housekeeping = EventHousekeeping(writer, interval_s=0.001)
        housekeeping.start()
        await asyncio.wait_for(writer.reached.wait(), 10)
        await housekeeping.stop()
        stopped_after = writer.rotations
        await asyncio.sleep(0)
        return writer.rotations - stopped_after

    assert asyncio.run(run()) == 0
