"""What the gateway does for its event log now and then, beside the requests."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from services.recommendations.gateway.settings import ClosableEventWriter
from streamrec.contracts.errors import StreamRecError

_LOG = logging.getLogger(__name__)

INTERVAL_S: Final = 1.0


class EventHousekeeping:
    """Seals segments that are due, also while nothing is written. For one event loop."""

    def __init__(self, writer: ClosableEventWriter, *, interval_s: float = INTERVAL_S) -> None:
        self._writer, self._interval_s = writer, interval_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; once."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """End, before the writer is closed."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await asyncio.to_thread(self._writer.rotate_if_due)
            except StreamRecError as error:
                # What was acknowledged is on the disk; the segment is left for compaction to recover.
                _LOG.error("a segment of the event log could not be sealed: %s", error)
