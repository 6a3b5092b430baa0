"""The counts of a slot as windows: one a step, and whom the challenger is compared with in it.

In the steps the challenger is held against the champion and, where the plan has one, the holdback, which is
the same version. In the watch it is the champion itself and is held against the holdback. Where nobody is
there to compare with (the watch without a holdback, the step that gives it everything, a slot that was empty)
the plan's limits decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.rollouts.evidence import EarlierCounts, SlotEvidence, StepEvidence
from streamrec.contracts.rollouts.state import Move
from streamrec.contracts.rollouts.tallies import Answers
from streamrec.contracts.specification.rollout_plan import RolloutPlan
from streamrec.contracts.units import BASIS_POINTS

ASKED: Final = 0
WRONG: Final = 1
ANSWERED: Final = 2
SLOW: Final = 3
DEGRADED: Final = 4
"""Rows of the counts of an arm."""

COUNTS: Final = 5


@dataclass(frozen=True, slots=True)
class Windows:
    """Some windows, as arrays.

    Attributes:
        challenger: Shape (COUNTS, windows), float64.
        reference: The same of whom it is compared with; zeros where only a limit is.
        planned: Shape (windows,): the challenger's share by design; NaN in a shadow.
        later_challenger, later_reference: Shape (COUNTS, moments): counted after moments of the last window.
        later_planned: Shape (moments,).
        later_numbers: Shape (moments,), int64.
        main: Index of the window with which the main test begins: the first that users saw.
    """

    challenger: NDArray[np.float64]
    reference: NDArray[np.float64]
    planned: NDArray[np.float64]
    later_challenger: NDArray[np.float64]
    later_reference: NDArray[np.float64]
    later_planned: NDArray[np.float64]
    later_numbers: NDArray[np.int64]
    main: int

    @property
    def size(self) -> int:
        """How many windows."""
        return self.planned.size


@dataclass(frozen=True, slots=True)
class _Window:
    challenger: NDArray[np.float64]
    reference: NDArray[np.float64]
    planned: float
    later: tuple[tuple[int, NDArray[np.float64], NDArray[np.float64]], ...] = ()
    is_shadow: bool = False


def compared_windows(move: Move, plan: RolloutPlan, evidence: SlotEvidence) -> Windows | None:
    """Those in which there is somebody to compare the challenger with; None where there are none yet."""
    if move.champion is None:
        return None
    found = []
    has_holdback = plan.holdback_bp > 0
    for number, entry in enumerate(evidence.steps):
        is_last = evidence.watch is None and number == len(evidence.steps) - 1
        earlier = evidence.earlier if is_last else ()
        if entry.weight_bp == 0:
            found.append(_shadow(entry, earlier))
        elif entry.weight_bp < BASIS_POINTS or has_holdback:
            found.append(_step(move, plan, entry, earlier))
    if evidence.watch is not None and has_holdback:
        found.append(_watch(move, plan, evidence.watch, evidence.earlier))
    return _together(found)


def limited_windows(move: Move, plan: RolloutPlan, evidence: SlotEvidence) -> Windows | None:
    """Those in which only the plan's limits can decide; None where there are none yet."""
    if plan.holdback_bp > 0 and move.champion is not None:
        return None
    found = []
    for number, entry in enumerate(evidence.steps):
        if entry.weight_bp == BASIS_POINTS:
            is_last = evidence.watch is None and number == len(evidence.steps) - 1
            found.append(_step(move, plan, entry, evidence.earlier if is_last else ()))
    if evidence.watch is not None:
        found.append(_watch(move, plan, evidence.watch, evidence.earlier))
    return _together(found)


def counts(answers: Answers, slow_ms: float) -> NDArray[np.float64]:
    """Shape (COUNTS,): what is counted of an arm."""
    return np.array(
        (
            answers.asked,
            answers.wrong,
            sum(answers.latency.values()),
            answers.slower_than(slow_ms),
            answers.degraded,
        ),
        dtype=np.float64,
    )


def _step(move: Move, plan: RolloutPlan, entry: StepEvidence, earlier: Sequence[EarlierCounts]) -> _Window:
    held = plan.holdback_bp / BASIS_POINTS

    def arms(of: StepEvidence | EarlierCounts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        reference = counts(of.champion, move.slow_ms)
        if held > 0.0:
            reference = reference + counts(of.holdback, move.slow_ms)
        return counts(of.challenger, move.slow_ms), reference

    challenger, reference = arms(entry)
    later = tuple(
        (moment.number, challenger - own, reference - other)
        for moment in earlier
        for own, other in (arms(moment),)
    )
    return _Window(challenger, reference, entry.weight_bp / BASIS_POINTS * (1.0 - held), later)


def _watch(move: Move, plan: RolloutPlan, entry: StepEvidence, earlier: Sequence[EarlierCounts]) -> _Window:
    challenger, reference = counts(entry.champion, move.slow_ms), counts(entry.holdback, move.slow_ms)
    later = tuple(
        (
            moment.number,
            challenger - counts(moment.champion, move.slow_ms),
            reference - counts(moment.holdback, move.slow_ms),
        )
        for moment in earlier
    )
    return _Window(challenger, reference, 1.0 - plan.holdback_bp / BASIS_POINTS, later)


def _shadow(entry: StepEvidence, earlier: Sequence[EarlierCounts]) -> _Window:
    """What it answered in the shadow that would be wrong.

    A shadow waits for spare capacity, so that it is late or slow there says nothing, and it degrades nobody.
    """

    def of(answers: Answers) -> NDArray[np.float64]:
        found = np.zeros(COUNTS)
        found[ASKED], found[WRONG] = answers.asked, answers.failed + answers.malformed
        return found

    challenger, reference = of(entry.shadow), of(entry.champion)
    later = tuple(
        (moment.number, challenger - of(moment.shadow), reference - of(moment.champion)) for moment in earlier
    )
    return _Window(challenger, reference, float("nan"), later, is_shadow=True)


def _together(windows: Sequence[_Window]) -> Windows | None:
    if not windows:
        return None
    last = windows[-1]
    main = next((number for number, one in enumerate(windows) if not one.is_shadow), len(windows))
    empty = np.zeros((COUNTS, 0))
    return Windows(
        challenger=np.stack([one.challenger for one in windows], axis=1),
        reference=np.stack([one.reference for one in windows], axis=1),
        planned=np.array([one.planned for one in windows]),
        later_challenger=np.stack([own for _, own, _ in last.later], axis=1) if last.later else empty,
        later_reference=np.stack([other for _, _, other in last.later], axis=1) if last.later else empty,
        later_planned=np.full(len(last.later), last.planned),
        later_numbers=np.array([number for number, _, _ in last.later], dtype=np.int64),
        main=main,
    )
