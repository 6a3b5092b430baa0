"""What dependencies raise: counted by kind, and logged so that a storm of one kind is one line a minute."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from services.recommendations.gateway.metrics import RecommendationMetrics

_LOG = logging.getLogger(__name__)

_QUIET_S: Final = 60.0
_MAXIMUM_KINDS: Final = 64
_OTHER: Final = "other"


class Faults:
    """Takes note of exceptions that a request goes on without. For one event loop."""

    def __init__(
        self,
        metrics: RecommendationMetrics,
        *,
        quiet_s: float = _QUIET_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Describe it.

        Args:
            metrics: Where they are counted.
            quiet_s: Time after a line in which the same kind of fault writes no other.
            clock: Seconds that never go back.
        """
        self._metrics = metrics
        self._quiet_s = quiet_s
        self._clock = clock
        self._logged_at_s: dict[tuple[str, str], float] = {}
        self._silent: dict[tuple[str, str], int] = {}

    def note(self, dependency: str, error: Exception, consequence: str) -> None:
        """Count a fault, and write its traceback down unless one of its kind was written lately.

        Args:
            dependency: What raised it, out of a short fixed list: it is a label of the metric.
            error: What it raised. Its type is the kind; beyond 64 kinds they are counted as ``other``.
            consequence: What the service does without, in words.
        """
        kind = (dependency, type(error).__name__)
        if kind not in self._logged_at_s and len(self._logged_at_s) >= _MAXIMUM_KINDS:
            kind = (dependency, _OTHER)
        self._metrics.count_fault(*kind)
        now_s = self._clock()
        logged_at_s = self._logged_at_s.get(kind)
        if logged_at_s is not None and now_s - logged_at_s < self._quiet_s:
            self._silent[kind] = self._silent.get(kind, 0) + 1
            return
        self._logged_at_s[kind] = now_s
        silent = self._silent.pop(kind, 0)
        more = f" ({silent} more of its kind since the last line)" if silent else ""
        _LOG.error("%s failed: %s%s", dependency, consequence, more, exc_info=error)
