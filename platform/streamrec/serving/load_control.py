"""What a service does about its load: a limit, places under it, and doing less before refusing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from streamrec.serving.admission import Admission
from streamrec.serving.brown_out import BrownOut, BrownOutSettings
from streamrec.serving.concurrency_limit import ConcurrencyLimit, LimitSettings


class LoadControl:
    """Measures requests; says how many may be under way and how much is done for each. For one event loop.

    Attributes:
        limit: How many may be under way.
        admission: The places.
        brown_out: How much is left out.
    """

    def __init__(
        self,
        objective_ms: float = 100.0,
        limit: LimitSettings | None = None,
        brown_out: BrownOutSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Describe it.

        Args:
            objective_ms: Time that a request is to take at most. It is the service's own, and not what each
                request says: a caller in a great hurry is no reason to refuse the others, and one with much
                time is none to let them wait.
            limit: How the limit is found.
            brown_out: When less is done.
            clock: Seconds that never go back.
        """
        if not 0.0 < objective_ms < math.inf:
            raise ValueError(f"an objective is a finite time above 0 ms, not {objective_ms}")
        self._objective_ms = objective_ms
        self.limit = ConcurrencyLimit(limit)
        self.brown_out = BrownOut(brown_out)
        self.admission = Admission(lambda: self.limit.current, self._asked)
        self._clock = clock

    @property
    def is_calm(self) -> bool:
        """Whether there is capacity to spare: everything is done, and few of the places are given away."""
        return self.brown_out.level == 0 and self.brown_out.is_calm

    def done(self, latency_ms: float) -> None:
        """Take note of a request that was answered, or whose time was over before its turn came.

        Args:
            latency_ms: From its first byte, without what others made it wait in vain.
        """
        self.limit.measured(latency_ms / self._objective_ms, self._clock())

    def _asked(self, share: float) -> None:
        if share >= 1.0:
            self.limit.reached()
        self.brown_out.observe(share, self._clock())
