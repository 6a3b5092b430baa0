"""From what was measured of each group to a decided difference. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Any, Final

import numpy as np

from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.fairness_policy import FairnessMetric
from streamrec.stats.fairness_counts import Rate
from streamrec.stats.fairness_decision import (
    FAILED,
    PASSED,
    Decisions,
    decide_means,
    decide_rates,
    means_needed,
    rates_needed,
)

_MOST_ROWS: Final = 10**12
_VERDICTS: Final = {PASSED: Verdict.PASSED, FAILED: Verdict.FAILED}


class Undecided(StrEnum):
    """Why there is no figure to decide by."""

    GROUP_TOO_SMALL = "group_too_small"
    GROUP_MISSING = "group_missing"
    NOTHING_TO_MEASURE = "nothing_to_measure"


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """A difference of two means over units.

    Attributes:
        value: The group's less the reference's.
        standard_error: Of ``value``.
        degrees: Of freedom.
        deviation, reference_deviation: Over units.
        units: Of the group.
        skewness: Third cumulant of ``value``, over six times ``standard_error`` cubed.
    """

    value: float
    standard_error: float
    degrees: float
    deviation: float
    reference_deviation: float
    units: int
    skewness: float = 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A group beside its reference, by one metric.

    Attributes:
        metric: Which.
        group, reference: Their names.
        tolerance: Largest tolerated difference.
        rows: Of the group.
        rates: The group's and the reference's, where the metric is a rate.
        mean: The difference, where the metric is a mean.
        trials_per_row: How much a row of the group counts: of a true positive rate its share of positives.
        least_rows: So many the group must have.
        undecided: Why it cannot be decided; None where it can.
    """

    metric: FairnessMetric
    group: str
    reference: str
    tolerance: float
    rows: int
    rates: tuple[Rate, Rate] | None = None
    mean: MeanDifference | None = None
    trials_per_row: float = 1.0
    least_rows: int = 2
    undecided: Undecided | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """A decided one.

    Attributes:
        metric, group, reference, tolerance: As compared.
        verdict: Passed: the whole interval is inside the tolerance; failed: outside; else inconclusive.
        value, low, high, level: The difference with the interval that decided; None where there is none.
        samples_needed: Rows that each of the two groups needs, so that a difference of 1.5 times the
            tolerance fails and none passes, each with probability 95 %; None where no number is enough.
        undecided: Why there is no interval.
    """

    metric: FairnessMetric
    group: str
    reference: str
    tolerance: float
    verdict: Verdict
    value: float | None
    low: float | None
    high: float | None
    level: float | None
    samples_needed: int | None
    rows: int
    undecided: Undecided | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "metric": self.metric.value,
            "groups": [self.group, self.reference],
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "level": self.level,
            "tolerance": self.tolerance,
            "verdict": self.verdict.value,
            "samples_needed": self.samples_needed,
            "undecided": None if self.undecided is None else self.undecided.value,
        }


def decide(comparisons: Sequence[Comparison], confidence: float) -> tuple[Difference, ...]:
    """Decide all differences together; those that cannot be decided count in the family too.

    Args:
        comparisons: All that the policy requires.
        confidence: Of the whole decision.
    """
    family = len(comparisons)
    return tuple(_decided(comparison, confidence, family) for comparison in comparisons)


def _decided(comparison: Comparison, confidence: float, family: int) -> Difference:
    needed = _rows_needed(comparison, confidence, family)
    value, decisions = None, None
    if comparison.rates is not None:
        own, reference = comparison.rates
        if own.value is not None and reference.value is not None:
            value = own.value - reference.value
            decisions = decide_rates(
                own.value,
                own.trials,
                reference.value,
                reference.trials,
                comparison.tolerance,
                confidence=confidence,
                family=family,
            )
    elif comparison.mean is not None:
        value = comparison.mean.value
        decisions = decide_means(
            value,
            comparison.mean.standard_error,
            comparison.mean.degrees,
            comparison.tolerance,
            confidence=confidence,
            family=family,
            skewness=comparison.mean.skewness,
        )
    undecided = comparison.undecided
    if undecided is None and decisions is None:
        undecided = Undecided.NOTHING_TO_MEASURE
    state = None if decisions is None else int(decisions.states)
    verdict = (
        Verdict.INCONCLUSIVE if undecided or state is None else _VERDICTS.get(state, Verdict.INCONCLUSIVE)
    )
    return Difference(
        metric=comparison.metric,
        group=comparison.group,
        reference=comparison.reference,
        tolerance=comparison.tolerance,
        verdict=verdict,
        value=value,
        low=_bound(decisions, "low"),
        high=_bound(decisions, "high"),
        level=_bound(decisions, "levels"),
        samples_needed=needed,
        rows=comparison.rows,
        undecided=undecided,
    )


def _bound(decisions: Decisions | None, name: str) -> float | None:
    return None if decisions is None else float(getattr(decisions, name))


def _rows_needed(comparison: Comparison, confidence: float, family: int) -> int | None:
    if comparison.rates is not None:
        reference = comparison.rates[1]
        if reference.trials <= 0:
            return None
        # Drawn a little to the middle: that nothing was seen among few does not say that there is nothing.
        base = (reference.successes + 1.0) / (reference.trials + 2.0)
        trials = float(rates_needed(base, comparison.tolerance, confidence=confidence, family=family))
    elif comparison.mean is not None:
        trials = float(
            means_needed(
                comparison.mean.deviation,
                comparison.mean.reference_deviation,
                comparison.tolerance,
                confidence=confidence,
                family=family,
            )
        )
    else:
        return None
    if comparison.trials_per_row <= 0.0 or not np.isfinite(trials):
        return None
    rows = trials / comparison.trials_per_row
    return max(ceil(rows), comparison.least_rows) if rows < _MOST_ROWS else None
