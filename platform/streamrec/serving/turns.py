"""One request at a time computes on an event loop; one that waits for another process lets others go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Turn:
    """One request's hold on a lock that stands for the event loop. For one request; none where no lock is.

    A request may go on without the lock: what it protects is the order in which requests are done, not data.
    """

    def __init__(self, lock: asyncio.Lock | None = None) -> None:
        """Nothing is held yet.

        Args:
            lock: Shared by all requests; None: nobody waits for anybody.
        """
        self._lock = lock
        self._held = False
        self._away = 0
        self._wants_back = False

    async def take(self, within_s: float) -> None:
        """Wait for the turn.

        Raises:
            TimeoutError: It did not come in time.
        """
        if self._lock is None:
            return
        async with asyncio.timeout(within_s):
            await self._lock.acquire()
        self._held = True

    def leave(self) -> None:
        """Let the next one go on; nothing happens where the turn is not held."""
        if self._held and self._lock is not None:
            self._held = False
            self._lock.release()

    @asynccontextmanager
    async def away(self, back_within_s: Callable[[], float]) -> AsyncIterator[None]:
        """Let others go on during the body, which waits for another process.

        Args:
            back_within_s: Returns how long to wait for the turn afterwards. Without it the request goes on
                all the same: it has waited long enough.
        """
        self._wants_back = self._wants_back or self._held
        self._away += 1
        self.leave()
        try:
            yield
        finally:
            self._away -= 1
            if self._wants_back and self._away == 0:
                self._wants_back = False
                await self._take_again(back_within_s())

    async def _take_again(self, within_s: float) -> None:
        try:
            await self.take(within_s)
        except TimeoutError:
            return
