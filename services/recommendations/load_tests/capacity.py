"""How much a system sustains: the highest rate at which it answers nearly everybody in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.recommendations.load_tests.results import Measured

GROWTH: Final = 1.5
"""From one rate to the next while all goes well."""
PRECISION: Final = 1.1
"""The search ends when the rate that fails is at most this many times the one that does not."""
LOWEST_RPS: Final = 2.0
HIGHEST_RPS: Final = 2_000.0


@dataclass(frozen=True, slots=True)
class CapacityLimits:
    """What counts as sustained.

    Attributes:
        p99_ms: From planned time to answer, at most.
        degraded_share: Of the answers, at most.
        error_share: Of the requests, at most.
    """

    p99_ms: float = 100.0
    degraded_share: float = 0.01
    error_share: float = 0.001

    def hold(self, measured: Measured) -> bool:
        """Whether a load was within them."""
        p99_ms = measured.percentile_ms(99.0)
        requests = measured.answers + measured.errors
        return (
            p99_ms is not None
            and p99_ms <= self.p99_ms
            and measured.degraded_share <= self.degraded_share
            and measured.errors <= self.error_share * requests
        )


def find_capacity(sustains: Callable[[float], bool], first_rps: float) -> float:
    """Search upwards or downwards from a rate until one fails and one does not, then between the two.

    Whether a rate is sustained is measured, so one near the limit may be judged either way: what is found is
    as precise as `PRECISION` says, and no better.

    Args:
        sustains: Measures a rate.
        first_rps: Where to begin.

    Returns:
        The highest rate that was sustained; 0 where not even `LOWEST_RPS` was.
    """
    low, high = 0.0, float("inf")
    rps = min(max(first_rps, LOWEST_RPS), HIGHEST_RPS)
    while True:
        if sustains(rps):
            low = rps
        else:
            high = rps
        if low >= HIGHEST_RPS or high <= LOWEST_RPS or high <= low * PRECISION:
            return low
        if high == float("inf"):
            rps = min(low * GROWTH, HIGHEST_RPS)
        elif low == 0.0:
            rps = max(high / GROWTH, LOWEST_RPS)
        else:
            rps = (low * high) ** 0.5
