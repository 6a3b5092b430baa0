"""How often the intervals of metrics hold the truth: 95 % of the time, by what clusters events have.

A bar fails only where the 99 % bound of the simulated coverage lies beyond it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest

from streamrec.contracts.progress import SilentProgress
from streamrec.metrics.computation import compute
from streamrec.stats.clustered_ratios import ratio_interval, share_interval
from tests.made_events import an_impression, an_outcome
from tests.unit.metrics.workplace import CATALOGUE, a_source, memory_log
from tests.unit.stats.clusters import coverage, mixed_shares, quantile_of, slow_units, uneven_ratios

RUNS = 4_000
LEAST = 0.94
"""Of 95 %: what the normal approximation may miss with a hundred users of skewed behaviour."""

FIRST = datetime(2026, 3, 1, tzinfo=UTC)


def upper_bound(rate: float, runs: int) -> float:
    return rate + NormalDist().inv_cdf(0.99) * sqrt(rate * (1.0 - rate) / runs)


@pytest.mark.parametrize("units", [100, 400])
@pytest.mark.parametrize(
    ("draw", "interval_of"), [(uneven_ratios, ratio_interval), (mixed_shares, share_interval)]
)
def test_ratios_and_shares(draw, interval_of, units):
    rng = np.random.default_rng(units)
    held = coverage(lambda: draw(rng, units), interval_of, runs=RUNS)
    print(f"{draw.__name__}, {units} units: {held:.4f}")
    assert upper_bound(held, RUNS) >= LEAST
    assert held <= 0.975  # an interval that always holds the truth says nothing


@pytest.mark.parametrize(
    ("quantile", "units"), [(0.5, 100), (0.5, 400), (0.9, 100), (0.9, 400), (0.99, 600), (0.99, 2_000)]
)
def test_quantiles_of_values_that_are_alike_within_a_unit(quantile, units):
    rng = np.random.default_rng(units)
    truth = float(np.exp(3.0 + 0.5 * NormalDist().inv_cdf(quantile)))
    runs = RUNS if units < 1_000 else RUNS // 2
    held = coverage(lambda: (slow_units(rng, units), truth), lambda v: quantile_of(v, quantile), runs=runs)
    print(f"quantile {quantile}, {units} units: {held:.4f}")
    assert upper_bound(held, runs) >= LEAST


def test_users_who_come_back_on_several_days():
    """Through the log and the statistics of days: a user has one taste on all days."""
    rng = np.random.default_rng(3)
    held = widths = 0.0
    runs = 150
    for run in range(runs):
        interval = clicked_share(rng, run)
        held += interval.low <= 0.25 <= interval.high
        widths += interval.high - interval.low
    print(f"users of three days: {held / runs:.4f}, mean width {widths / runs:.4f}")
    assert upper_bound(held / runs, runs) >= LEAST


def clicked_share(rng: np.random.Generator, run: int):
    """The click rate of 40 users over three days; each user clicks with a probability of Beta(1, 3)."""
    records = []
    for user in range(40):
        taste = rng.beta(1.0, 3.0)
        for day in range(3):
            moment = FIRST + timedelta(days=day, hours=12)
            name = f"{run}-{user}-{day}"
            unit = f"u{user}"
            records.append(an_impression(unit=unit, request_id=name, predicted_at=moment))
            if rng.random() < taste:
                records.append(
                    an_outcome(
                        event_id=name, unit=unit, request_id=name, occurred_at=moment, received_at=moment
                    )
                )
    figures = compute(
        CATALOGUE.metric("click_rate"),
        CATALOGUE,
        a_source(memory_log(records)),
        start=FIRST,
        end=FIRST + timedelta(days=3),
        now=FIRST + timedelta(days=30),
        progress=SilentProgress(),
    )
    return figures.figures[0].estimate
