"""Simulated groups of people, decided again and again: how often is that wrong, and how often is harm found?

In a cell all groups but the reference have the same size, and every metric is a rate over people of its own.
One difference is set; the others are none, which is the worst case for passing wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil

import numpy as np
from scipy.stats import beta

from streamrec.stats.fairness_decision import FAILED, HARM, PASSED, rate_states, rates_needed

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Cell:
    """Reference rate, groups with the reference, metrics, tolerance, rows of a group and of the reference."""

    rate: float
    groups: int
    metrics: int
    tolerance: float
    rows: int
    reference_rows: int

    @property
    def family(self) -> int:
        return (self.groups - 1) * self.metrics

    def verdicts(self, difference: float, rng: np.random.Generator, runs: int) -> tuple[int, int]:
        """Runs that pass, and that fail, where one group differs by ``difference`` in one metric."""
        shape = (runs, self.groups - 1, self.metrics)
        rates = np.full(shape[1:], self.rate)
        rates[0, 0] += difference
        own = rng.binomial(self.rows, rates, shape) / self.rows
        reference = (
            rng.binomial(self.reference_rows, self.rate, (runs, 1, self.metrics)) / self.reference_rows
        )
        states = rate_states(
            own,
            float(self.rows),
            reference,
            float(self.reference_rows),
            self.tolerance,
            confidence=CONFIDENCE,
            family=self.family,
        ).reshape(runs, -1)
        return int((states == PASSED).all(axis=1).sum()), int((states == FAILED).any(axis=1).sum())


def cells(rates, groups, metrics, tolerances, *, unequal=(1,)) -> Iterator[Cell]:
    """Every combination, at the rows that are said to be needed; the reference has so many times as many."""
    for rate, count, figures, tolerance, times in product(rates, groups, metrics, tolerances, unequal):
        family = (count - 1) * figures
        rows = ceil(float(rates_needed(rate, tolerance, confidence=CONFIDENCE, family=family)))
        yield Cell(rate, count, figures, tolerance, rows, rows * times)


def bounds_99(hits: int, runs: int) -> tuple[float, float]:
    """Clopper-Pearson bounds of a simulated rate, each at 99 %."""
    low = beta.ppf(0.01, hits, runs - hits + 1) if hits else 0.0
    high = beta.ppf(0.99, hits + 1, runs - hits) if hits < runs else 1.0
    return float(low), float(high)


def missed_bars(cell: Cell, rng: np.random.Generator, runs: int) -> list[str]:
    """One line for each bar that the cell misses for certain."""
    missed = []

    def at_most(what: str, hits: int, bar: float) -> None:
        low, high = bounds_99(hits, runs)
        if low > bar:
            missed.append(f"{cell}: {what} in {hits / runs:.4f} ({low:.4f} to {high:.4f}), at most {bar}")

    def at_least(what: str, hits: int, bar: float) -> None:
        low, high = bounds_99(hits, runs)
        if high < bar:
            missed.append(f"{cell}: {what} in {hits / runs:.4f} ({low:.4f} to {high:.4f}), at least {bar}")

    passed, failed = cell.verdicts(0.0, rng, runs)
    at_most("failed without a difference", failed, 0.05)
    at_least("passed without a difference", passed, 0.95)
    for sign in (1.0, -1.0):
        if 0.0 <= cell.rate + sign * cell.tolerance <= 1.0:
            passed, _ = cell.verdicts(sign * cell.tolerance, rng, runs)
            at_most("passed with a difference of the tolerance", passed, 0.05)
        if 0.0 <= cell.rate + sign * HARM * cell.tolerance <= 1.0:
            passed, failed = cell.verdicts(sign * HARM * cell.tolerance, rng, runs)
            at_least("failed with 1.5 times the tolerance", failed, 0.95)
            at_most("passed with 1.5 times the tolerance", passed, 0.05)
    return missed
