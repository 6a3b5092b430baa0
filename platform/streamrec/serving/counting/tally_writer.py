"""Writes down what a process has counted, about once a second: beside the requests, never during one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

from streamrec.contracts.errors import StreamRecError
from streamrec.contracts.rollouts.tallies import ServedTally
from streamrec.documents.polling import Poller
from streamrec.serving.counting.served_counts import ServedCounts

_LOG = logging.getLogger(__name__)

WRITE_INTERVAL_S: Final = 1.0
"""Between two looks for something new to write down."""

_QUIET_INTERVAL_S: Final = 5.0
"""Between two writes where nothing was counted: the time in the tally says that the process is there."""


class TakesTallies(Protocol):
    """Where tallies go; `streamrec.rollout.tallies` is one."""

    def write(self, tally: ServedTally) -> None:
        """Replace the process's last one.

        Raises:
            StreamRecError: It cannot be written.
        """
        ...


class TallyWriter:
    """Writes until it is stopped, and once more then. Safe to use from several threads."""

    def __init__(
        self,
        counts: ServedCounts,
        tallies: TakesTallies,
        *,
        interval_s: float = WRITE_INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Nothing is written before `start`.

        Args:
            counts: What was counted.
            tallies: Where it goes.
            interval_s: Seconds between two looks.
            clock: Monotonic time, s.
            now: Now, UTC.
        """
        self._counts, self._tallies = counts, tallies
        self._clock, self._now = clock, now
        self._written: int | None = None
        self._written_at_s = 0.0
        self._failing = False
        self._poller = Poller(self.write_if_due, interval_s=interval_s, name="tally")

    def start(self) -> None:
        """Write from now on, in a thread that ends with the process or with `stop`."""
        self._poller.start()

    def stop(self) -> None:
        """Write what is not written yet, and no more."""
        self._poller.stop()
        if self._counts.counted != self._written:
            self._write()

    def write_if_due(self) -> None:
        """Write where something new was counted, or the last tally is old. Never raises."""
        quiet_s = self._clock() - self._written_at_s
        if self._written is None or self._counts.counted != self._written or quiet_s >= _QUIET_INTERVAL_S:
            self._write()

    def _write(self) -> None:
        counted = self._counts.counted
        try:
            self._tallies.write(self._counts.tally(self._now))
        except StreamRecError as error:
            if not self._failing:
                _LOG.warning("the tally of %s cannot be written: %s", self._counts.server, error)
            self._failing = True
            return
        self._failing = False
        self._written, self._written_at_s = counted, self._clock()
