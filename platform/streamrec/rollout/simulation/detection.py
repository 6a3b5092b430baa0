"""Challengers with a fault, at a canary of 10 %: after how many of their requests are they rolled back?

There is a look after every request of the challenger. The evidence of all looks is computed at once, by the
function that an analysis uses for one; that the real analysis finds harm at just the look that was found this
way, and none at the look before, is checked for every run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.results import Verdict
from streamrec.contracts.rollouts.evidence import SlotEvidence, StepEvidence
from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.contracts.specification.rollout_plan import RolloutPlan, RolloutStep
from streamrec.contracts.units import BASIS_POINTS
from streamrec.rollout.analysis import ComparedWith, analyse
from streamrec.rollout.analysis.budget import PARTS, phases_of, threshold_of
from streamrec.rollout.analysis.evidence_of_harm import ROWS, log_evidence_beside
from streamrec.rollout.analysis.windows import COUNTS, Windows
from streamrec.rollout.simulation.made_rollouts import BEGAN, made_evidence, made_rollout
from streamrec.rollout.simulation.made_traffic import Rates, answers_of, drawn_counts

CANARY_BP: Final = 1_000
PLAN: Final = RolloutPlan(
    steps=tuple(RolloutStep(weight_bp=weight) for weight in (CANARY_BP, 5_000, BASIS_POINTS))
)
_RUNS_AT_ONCE: Final = 40


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a challenger.

    Attributes:
        name: What.
        size: How bad: the share of requests, or milliseconds.
        rates: How it answers; the champion answers as `Rates` says by default.
        horizon: Requests of the challenger after which a run is given up.
        bar_p50, bar_p95: Requests of the challenger that it may take at most (reference/numbers.md and
            failure cases 10 to 12); None where there is no bar.
    """

    name: str
    size: float
    rates: Rates
    horizon: int
    bar_p50: int | None = None
    bar_p95: int | None = None


FAULTS: Final = (
    Fault("errors", 1.0, Rates(wrong=1.0), 60, 3, 4),
    Fault("errors", 0.2, Rates(wrong=0.2), 200, 17, 39),
    Fault("errors", 0.05, Rates(wrong=0.05), 1_000, 88, 247),
    Fault("errors", 0.02, Rates(wrong=0.02), 2_500, 532, 1_244),
    Fault("malformed", 1.0, Rates(wrong=1.0), 60, 20, 20),
    Fault("slower_ms", 200.0, Rates(slow=1.0), 100, 500, 500),
    Fault("slow_share", 0.1, Rates(slow=0.1), 600),
    Fault("degraded", 0.2, Rates(degraded=0.2), 600),
)


def requests_to_detect(fault: Fault, runs: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Shape (runs,): requests of the challenger until it is rolled back; 0 where it was not in the horizon.

    Raises:
        RuntimeError: The analysis and the evidence that was computed at once do not agree.
    """
    found = [
        _some_runs(fault, min(_RUNS_AT_ONCE, runs - start), rng) for start in range(0, runs, _RUNS_AT_ONCE)
    ]
    return np.concatenate(found)


def _some_runs(fault: Fault, runs: int, rng: np.random.Generator) -> NDArray[np.int64]:
    shape = (runs, fault.horizon)
    one_each = np.ones(shape, dtype=np.int64)
    between = rng.geometric(CANARY_BP / BASIS_POINTS, shape) - 1
    challenger = drawn_counts(rng, one_each, fault.rates, axis=1)
    champion = drawn_counts(rng, between, Rates(), axis=1)
    nothing = np.zeros((*shape, COUNTS, 0))
    windows = Windows(
        challenger=challenger[..., None],
        reference=champion[..., None],
        planned=np.array([CANARY_BP / BASIS_POINTS]),
        later_challenger=nothing,
        later_reference=nothing,
        later_planned=np.zeros(0),
        later_numbers=np.zeros(0, dtype=np.int64),
        main=0,
    )
    crossed = np.zeros(shape, dtype=np.bool_)
    beside = ComparedWith.CHAMPION
    for criterion in ROWS:
        part = PARTS[criterion, beside]
        evidence = log_evidence_beside(criterion, windows, part, phases=phases_of(PLAN))
        crossed |= evidence >= np.log(threshold_of(PLAN, 1, criterion, beside))
    first = np.where(crossed.any(axis=1), crossed.argmax(axis=1) + 1, 0)
    for run, requests in enumerate(first):
        last = int(requests) if requests else fault.horizon
        _check(challenger[run], champion[run], last, is_harm=bool(requests))
    return first.astype(np.int64)


def _check(
    challenger: NDArray[np.float64], champion: NDArray[np.float64], requests: int, *, is_harm: bool
) -> None:
    """Let the real analysis look where the evidence crossed, and one request before."""
    state = made_rollout(PLAN, RolloutPhase.CANARY)
    for look, expected in ((requests, is_harm), (requests - 1, False)):
        if look == 0:
            continue
        entry = StepEvidence(
            weight_bp=CANARY_BP,
            challenger=answers_of(challenger[look - 1]),
            champion=answers_of(champion[look - 1]),
        )
        found = analyse(state, made_evidence(BEGAN, SlotEvidence((entry,))), BEGAN)
        if (found.verdict is Verdict.FAILED) != expected:
            raise RuntimeError(f"the analysis says {found.verdict} after {look} requests: {found.reasons}")
