"""The metrics of a service's callers: what each sends, and what of it is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from streamrec.contracts.callers import MAXIMUM_CALLERS

ANONYMOUS: Final = "anonymous"
"""Stands for all callers where they are not told apart."""

UNKNOWN_CALLER: Final = "unknown"
"""Stands for whoever has no valid token."""

OTHER_CALLERS: Final = "other"
"""Stands for callers that came into the file after `MAXIMUM_CALLERS` others since the process started."""

ADMITTED: Final = "admitted"
UNAUTHORIZED: Final = "unauthorized"
NO_CALLERS_FILE: Final = "no_callers_file"
"""Refused because the callers file could not be read since the process started."""


class CallerMetrics:
    """One process's metrics of its callers. Label values are names out of the callers file, and words."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "streamrec_caller_requests",
            "Requests by caller, and whether they were let in or why not.",
            ("caller", "result"),
            registry=registry,
        )
        self._files_refused = Counter(
            "streamrec_callers_file_refused",
            "Versions of the callers file that were refused, by reason; the last good one stays in force.",
            ("reason",),
            registry=registry,
        )
        self._file_good = Gauge(
            "streamrec_callers_file_good",
            "1 where the callers file as it is now is in force, or callers are not told apart; else 0.",
            registry=registry,
        )
        self._file_good.set(1)
        self._named: set[str] = set()

    def count(self, caller: str, result: str) -> None:
        """Count one request; ``result`` comes from a small set."""
        if caller not in self._named:
            if len(self._named) >= MAXIMUM_CALLERS + 2:
                caller = OTHER_CALLERS
            else:
                self._named.add(caller)
        self._requests.labels(caller, result).inc()

    def count_refused_file(self, reason: str) -> None:
        """Count one version of the callers file that was refused."""
        self._files_refused.labels(reason).inc()

    def watch_file(self, good: Callable[[], bool]) -> None:
        """Ask this whenever the metrics are read."""
        self._file_good.set_function(lambda: float(good()))
