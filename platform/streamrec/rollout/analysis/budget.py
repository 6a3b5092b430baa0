"""How the error budget of a plan is split: over slots, over criteria, and over tests that begin anew.

The budget (`RolloutPlan.false_rollbacks`) is the chance that a rollout of equal versions is ever rolled
back. It is the sum of the parts (Bonferroni), so it holds however the criteria hang together. Wrong answers
get the most: their bar is the tightest, and a user feels them at once. The others are found with much less:
slowness and degraded answers that matter are many, and evidence grows exponentially. See decision 36.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.rollouts.state import RolloutState
from streamrec.contracts.specification.rollout_plan import RolloutPlan
from streamrec.rollout.analysis.findings import ComparedWith, Criterion

_ZETA: Final = 2.612_375_348_685_488
"""Sum of ``n ** -1.5`` over all n from 1."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the budget.

    Attributes:
        share: Of the slot's whole budget.
        first: Of this, what goes to the test that begins with the comparison; the rest to later beginnings.
    """

    share: float
    first: float


PARTS: Final = {
    (Criterion.WRONG, ComparedWith.CHAMPION): Part(0.94, 0.92 / 0.94),
    (Criterion.SLOW, ComparedWith.CHAMPION): Part(0.015, 0.5),
    (Criterion.DEGRADED, ComparedWith.CHAMPION): Part(0.015, 0.5),
    (Criterion.OUTCOME, ComparedWith.CHAMPION): Part(0.02, 1.0),
    (Criterion.WRONG, ComparedWith.LIMIT): Part(0.004, 0.5),
    (Criterion.SLOW, ComparedWith.LIMIT): Part(0.003, 0.5),
    (Criterion.DEGRADED, ComparedWith.LIMIT): Part(0.003, 0.5),
}
"""All shares together are 1."""


def threshold(state: RolloutState, criterion: Criterion, compared_with: ComparedWith) -> float:
    """What the evidence of a criterion must reach to be harm."""
    return threshold_of(state.plan, len(state.moves), criterion, compared_with)


def threshold_of(plan: RolloutPlan, slots: int, criterion: Criterion, compared_with: ComparedWith) -> float:
    """The same of a plan that moves so many slots."""
    return slots / (plan.false_rollbacks * PARTS[criterion, compared_with].share)


def log_start_weights(part: Part, *, windows: int, main: int, phases: int) -> NDArray[np.float64]:
    """Logarithm of the weight of the test that begins with each window.

    Args:
        part: Of the budget.
        windows: How many there are so far.
        main: Index of the one with which the main test begins.
        phases: Most windows that the plan can ever have.

    Returns:
        Shape (windows,).
    """
    again = (1.0 - part.first) / 2.0 / phases
    weights = np.full(windows, log(again) if again > 0.0 else -np.inf)
    if main < windows:
        weights[main] = log(part.first)
    return weights


def log_later_weights(part: Part, numbers: NDArray[np.int64], *, phases: int) -> NDArray[np.float64]:
    """Logarithm of the weight of tests that begin at moments within a window.

    Args:
        part: Of the budget.
        numbers: Shape (..., moments): which moment of the window, from 1.
        phases: Most windows that the plan can ever have.

    Returns:
        The same shape: weights fall as ``number ** -1.5`` and add up to their part however many there are.
    """
    again = (1.0 - part.first) / 2.0 / phases
    if again <= 0.0:
        return np.full(numbers.shape, -np.inf)
    return log(again / _ZETA) - 1.5 * np.log(numbers.astype(np.float64))


def phases_of(plan: RolloutPlan) -> int:
    """Most windows of a rollout: the shadow, the steps, and the watch."""
    return len(plan.steps) + 2
