"""What a service does about its load: a limit, places under it, and doing less before refusing."""

from __future__ import annotations

import time
from collections.abc import Callable

from streamrec.serving.admission import Admission
from streamrec.serving.brown_out import BrownOut, BrownOutSettings
from streamrec.serving.concurrency_limit import ConcurrencyLimit, LimitSettings
from streamrec.serving.deadline import Deadline


class LoadControl:
    """Measures requests; says how many may be under way and how much is done for each. For one event loop.

    Attributes:
        limit: How many may be under way.
        admission: The places.
        brown_out: How much is left out.
    """

    def __init__(
        self,
        limit: LimitSettings | None = None,
        brown_out: BrownOutSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = ConcurrencyLimit(limit)
        self.brown_out = BrownOut(brown_out)
        self.admission = Admission(lambda: self.limit.current, self._asked)
        self._clock = clock

    def done(self, deadline: Deadline, latency_ms: float) -> None:
        """Take note of a request that was answered, or whose time was over before its turn came.

        Args:
            deadline: Its own.
            latency_ms: From its first byte, without what others made it wait in vain.
        """
        self.limit.measured(latency_ms / deadline.budget_ms, self._clock())

    def _asked(self, share: float) -> None:
        if share >= 1.0:
            self.limit.reached()
        self.brown_out.observe(share, self._clock())
