"""The search for the sustained throughput, and what counts as sustained."""

from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.load_tests.capacity import (
    HIGHEST_RPS,
    LOWEST_RPS,
    PRECISION,
    CapacityLimits,
    find_capacity,
)
from services.recommendations.load_tests.results import Measured


@pytest.mark.parametrize("capacity_rps", [3.0, 17.0, 40.0, 41.0, 95.0, 700.0])
def test_the_highest_rate_is_found_from_below_and_from_above(capacity_rps) -> None:
    tried = []

    def sustains(rps: float) -> bool:
        tried.append(rps)
        return rps <= capacity_rps

    found = find_capacity(sustains, 40.0)
    assert capacity_rps / PRECISION <= found <= capacity_rps
    assert found in tried
    assert len(tried) <= 14


def test_the_search_stops_at_its_bounds() -> None:
    assert find_capacity(lambda _rps: True, 40.0) == HIGHEST_RPS
    tried = []

    def never(rps: float) -> bool:
        tried.append(rps)
        return False

    assert find_capacity(never, 40.0) == 0.0
    assert tried[-1] == LOWEST_RPS


def measured(waits_ms: list[float], *, refused: int = 0, degraded: int = 0) -> Measured:
    return Measured(
        waits_ms=np.array(waits_ms),
        refusals_ms=np.full(refused, 5.0),
        stages_ms=np.empty((len(waits_ms), 5), dtype=np.float32),
        answers=len(waits_ms),
        refused=refused,
        unanswered=0,
        degraded=degraded,
        rungs=np.zeros(4, dtype=np.int64),
        duration_s=1.0,
        cpu_s={},
        lateness_ms=np.zeros(len(waits_ms)),
        generator_cpu_ms=0.0,
        event_waits_ms=np.empty(0),
        failed_events=0,
    )


def test_late_degraded_refused_and_missing_answers_are_each_too_much() -> None:
    limits = CapacityLimits()
    good = [50.0] * 1000
    assert limits.hold(measured(good))
    assert limits.hold(measured([*good, *[150.0] * 5], refused=1, degraded=10))
    assert not limits.hold(measured([*good, *[150.0] * 20]))
    assert not limits.hold(measured(good, degraded=11))
    assert not limits.hold(measured(good, refused=2))
    assert not limits.hold(measured([]))
