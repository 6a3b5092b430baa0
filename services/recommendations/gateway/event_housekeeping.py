"""What the gateway does for its event log now and then, beside the requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from services.recommendations.gateway.settings import ClosableEventWriter
from streamrec.contracts.errors import StreamRecError

_LOG = logging.getLogger(__name__)

INTERVAL_S: Final = 1.0


class Erasures(Protocol):
    """Who is erased; `streamrec.erasure.erased_persons` has the real one."""

    def refresh(self) -> bool:
        """Look again; True if somebody was erased since the last look. Never raises."""
        ...


class EventHousekeeping:
    """Seals segments that are due, also while nothing is written, and follows who is erased.

    When somebody was erased, what is cached goes, and the segment is let go of, so that the command that
    erases finds everything in files that nobody holds. For one event loop.
    """

    def __init__(
        self,
        writer: ClosableEventWriter,
        erased: Erasures,
        forget: Callable[[], None],
        *,
        interval_s: float = INTERVAL_S,
    ) -> None:
        """Describe it.

        Args:
            writer: The event log.
            erased: Who is erased.
            forget: Drops what is cached of users; called in the event loop.
            interval_s: Seconds between two looks.
        """
        self._writer, self._erased, self._forget = writer, erased, forget
        self._interval_s = interval_s
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
                if await asyncio.to_thread(self._erased.refresh):
                    self._forget()
                    await asyncio.to_thread(self._writer.rotate)
                else:
                    await asyncio.to_thread(self._writer.rotate_if_due)
            except StreamRecError as error:
                # What was acknowledged is on the disk; the segment is left for compaction to recover.
                _LOG.error("a segment of the event log could not be sealed: %s", error)
