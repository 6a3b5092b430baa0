"""A thread that looks again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

_STOP_TIMEOUT_S: Final = 10.0


class Poller:
    """Calls a function at an interval until it is stopped. The thread ends with the process at the latest."""

    def __init__(self, refresh: Callable[[], object], *, interval_s: float, name: str) -> None:
        """Set it up; `start` starts it.

        Args:
            refresh: Is called in the poller's thread; never raises, as `DocumentFollower.refresh`.
            interval_s: Seconds between the end of one call and the next; above 0.
            name: Of the thread.
        """
        if not interval_s > 0.0:
            raise ValueError("interval_s must be above 0")
        self._refresh, self._interval_s = refresh, interval_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll, name=name, daemon=True)

    def start(self) -> None:
        """Poll from now on; the first call comes after one interval.

        Raises:
            RuntimeError: It was started before.
        """
        self._thread.start()

    def stop(self) -> None:
        """Poll no more; returns when a call that is under way has ended, or after ten seconds."""
        self._stopped.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_STOP_TIMEOUT_S)

    def _poll(self) -> None:
        while not self._stopped.wait(self._interval_s):
            self._refresh()
