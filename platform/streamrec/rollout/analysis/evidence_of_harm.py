"""The evidence for harm of each criterion, from windows: the one core of analysis and simulation.

Arrays may have any number of leading axes (looks, rollouts), so that a simulation computes with the same
functions what an analysis computes for one look.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.specification.rollout_plan import AbsoluteLimits
from streamrec.rollout.analysis.budget import Part, log_later_weights, log_start_weights
from streamrec.rollout.analysis.findings import Criterion
from streamrec.rollout.analysis.windows import ANSWERED, ASKED, DEGRADED, SLOW, WRONG, Windows
from streamrec.stats.sequential_events import log_mixture_of_starts, odds_terms, share_under_null

SLOW_SHARE_ALLOWED: Final = 0.01
"""Share of slow answers that is no fault of a version: the limit is one of the 99th percentile."""

ROWS: Final = {
    Criterion.WRONG: (WRONG, ASKED),
    Criterion.SLOW: (SLOW, ANSWERED),
    Criterion.DEGRADED: (DEGRADED, ASKED),
}
"""Which counts are the events of a criterion, and which its trials."""


def log_evidence_beside(
    criterion: Criterion, windows: Windows, part: Part, *, phases: int
) -> NDArray[np.float64]:
    """Logarithm of the evidence that the challenger does worse than whom it is compared with.

    Of slow answers it is the smaller of two: that it has more of them than the other, and that it has
    more than `SLOW_SHARE_ALLOWED`. Both must be shown, so neither takes from the other's budget (an
    intersection-union test: Berger 1982).

    Args:
        criterion: One of ``ROWS``.
        windows: Counts of the shape (..., COUNTS, windows).
        part: Of the budget.
        phases: Most windows that the plan can ever have.

    Returns:
        Shape (...).
    """
    events, trials = ROWS[criterion]
    own, other = windows.challenger, windows.reference
    terms = _beside(own, other, events, trials, windows.planned)
    later = _beside(windows.later_challenger, windows.later_reference, events, trials, windows.later_planned)
    found = _with_starts(terms, later, windows, part, phases)
    if criterion is not Criterion.SLOW:
        return found
    return np.minimum(found, _over(windows, events, trials, SLOW_SHARE_ALLOWED, part, phases))


def log_evidence_over_limit(
    criterion: Criterion, windows: Windows, limits: AbsoluteLimits, part: Part, *, phases: int
) -> NDArray[np.float64]:
    """Logarithm of the evidence that the challenger's share is larger than the plan's limit.

    Args:
        criterion: One of ``ROWS``.
        windows: As of `log_evidence_beside`; whom it is compared with is not looked at.
        limits: Of the plan.
        part: Of the budget.
        phases: Most windows that the plan can ever have.

    Returns:
        Shape (...).
    """
    events, trials = ROWS[criterion]
    return _over(windows, events, trials, limit_of(criterion, limits), part, phases)


def limit_of(criterion: Criterion, limits: AbsoluteLimits) -> float:
    """Largest share that is no harm."""
    return {
        Criterion.WRONG: limits.wrong_share,
        Criterion.SLOW: limits.slow_share,
        Criterion.DEGRADED: limits.degraded_share,
    }[criterion]


def _beside(
    own: NDArray[np.float64],
    other: NDArray[np.float64],
    events: int,
    trials: int,
    planned: NDArray[np.float64],
) -> NDArray[np.float64]:
    chance = share_under_null(own[..., trials, :], other[..., trials, :], planned)
    return odds_terms(own[..., events, :], own[..., events, :] + other[..., events, :], chance)


def _over(
    windows: Windows, events: int, trials: int, limit: float, part: Part, phases: int
) -> NDArray[np.float64]:
    own, after = windows.challenger, windows.later_challenger
    terms = odds_terms(own[..., events, :], own[..., trials, :], limit)
    later = odds_terms(after[..., events, :], after[..., trials, :], limit)
    return _with_starts(terms, later, windows, part, phases)


def _with_starts(
    terms: NDArray[np.float64], later: NDArray[np.float64], windows: Windows, part: Part, phases: int
) -> NDArray[np.float64]:
    starts = log_start_weights(part, windows=windows.size, main=windows.main, phases=phases)
    moments = log_later_weights(part, windows.later_numbers, phases=phases)
    return log_mixture_of_starts(terms, starts, later, moments)
