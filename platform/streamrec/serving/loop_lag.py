"""How late an event loop is: what comes in waits that long before anybody sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

_PERIOD_S: Final = 0.01
_TIMER_ERROR_MS: Final = 1.0
"""Timers of an event loop fall due in whole milliseconds."""


class LoopLag:
    """Measures by a timer how late the loop runs what is due.

    A request that arrives while the loop is busy lies in its socket, where no clock of ours runs. It is found
    when the loop comes round, as late as a timer that fell due meanwhile. So the lag is what has to be added
    to the age of a request that was just found. For one event loop.
    """

    def __init__(self, *, period_s: float = _PERIOD_S, clock: Callable[[], float] = time.monotonic) -> None:
        """Describe it; it measures nothing before `start`.

        Args:
            period_s: Time between two looks.
            clock: Seconds that never go back.
        """
        self._period_s = period_s
        self._clock = clock
        self._due_s: float | None = None
        self._last_ms = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure the running loop."""
        self.stop()
        self._wait(asyncio.get_running_loop())

    def stop(self) -> None:
        """Measure no longer: the lag is 0 from now on."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._due_s, self._last_ms = None, None, 0.0

    def current_ms(self) -> float:
        """The lag, 0 or more: of the last look, or by how much the next one is overdue if that is more."""
        if self._due_s is None:
            return 0.0
        return max(self._last_ms, self._late_ms())

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due_s = self._clock() + self._period_s
        self._timer = loop.call_later(self._period_s, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._last_ms = self._late_ms()
        self._wait(loop)

    def _late_ms(self) -> float:
        due_s = self._due_s if self._due_s is not None else self._clock()
        return max(0.0, (self._clock() - due_s) * 1000.0 - _TIMER_ERROR_MS)
