"""Evidence that cannot be true: nothing follows from it, and nobody may go on with it.

What is read from a file has been checked when it was read; this is about what only the numbers together
show, and about evidence that was put together in a process.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import isfinite
from typing import Final

from streamrec.contracts.results import Reason
from streamrec.contracts.rollouts.evidence import (
    EarlierCounts,
    RolloutEvidence,
    SlotEvidence,
    StepEvidence,
    UnitSums,
)
from streamrec.contracts.rollouts.state import RolloutState
from streamrec.contracts.rollouts.tallies import Answers

_ARMS: Final = ("champion", "challenger", "shadow", "holdback")
_COUNTED: Final = ("asked", "failed", "malformed", "late", "degraded", "disagreed")
_ROUNDING: Final = 1e-6
_MOST_TOLD: Final = 20
_REMEDY: Final = "nothing is decided by it; mend or restart what counts, then look again"


def impossible(
    state: RolloutState, evidence: RolloutEvidence, before: RolloutEvidence | None = None
) -> tuple[Reason, ...]:
    """Say what cannot be true.

    Args:
        state: The rollout, whose plan says which shares there can be.
        evidence: As gathered.
        before: What was gathered at an earlier look at the same rollout: counts never become fewer.

    Returns:
        Empty where nothing speaks against the evidence; at most 20 reasons.
    """
    found = []
    weights = (0, *(step.weight_bp for step in state.plan.steps))
    for move in state.moves:
        slot = evidence.slots.get(move.slot)
        if slot is None:
            continue
        found += [_reason(f"slots.{move.slot}.{path}", problem) for path, problem in _slot(slot, weights)]
        earlier = before.slots.get(move.slot) if before is not None else None
        if earlier is not None:
            found += [
                _reason(f"slots.{move.slot}.{path}", problem) for path, problem in _shrunk(earlier, slot)
            ]
    return tuple(found[:_MOST_TOLD])


def _slot(slot: SlotEvidence, weights: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    seen = [entry.weight_bp for entry in slot.steps]
    if any(weight not in weights for weight in seen):
        yield "steps", f"shares of {seen} basis points are not those of the plan"
    elif any(after <= weight for weight, after in pairwise(seen)):
        yield "steps", f"shares of {seen} basis points do not grow"
    if slot.watch is not None and slot.watch.weight_bp != 0:
        yield "watch.weight_bp", "must be 0: nobody is a challenger in the watch"
    for path, entry in _entries(slot):
        for arm in _ARMS:
            yield from _answers(f"{path}.{arm}", getattr(entry, arm))
        for arm in ("outcome_champion", "outcome_challenger", "outcome_holdback"):
            sums = getattr(entry, arm)
            if sums is not None:
                yield from _sums(f"{path}.{arm}", sums)
    last = slot.watch if slot.watch is not None else (slot.steps[-1] if slot.steps else None)
    for index, moment in enumerate(slot.earlier):
        if last is None or moment.number < 1:
            yield f"earlier.{index}", "is of a step that has not begun"
            continue
        for arm in _ARMS:
            yield from _answers(f"earlier.{index}.{arm}", getattr(moment, arm))
            yield from _fewer(f"earlier.{index}.{arm}", getattr(moment, arm), getattr(last, arm))


def _entries(slot: SlotEvidence) -> Iterator[tuple[str, StepEvidence]]:
    for index, entry in enumerate(slot.steps):
        yield f"steps.{index}", entry
    if slot.watch is not None:
        yield "watch", slot.watch


def _answers(path: str, answers: Answers) -> Iterator[tuple[str, str]]:
    whole = (
        answers.asked,
        answers.failed,
        answers.malformed,
        answers.late,
        answers.degraded,
        answers.disagreed,
        *answers.latency.values(),
    )
    for place, number in enumerate(whole):
        if type(number) is not int or number < 0:
            name = (*_COUNTED, *(f"latency.{bucket}" for bucket in answers.latency))[place]
            yield f"{path}.{name}", f"is {number!r}, which is no count"
            return
    in_time = sum(answers.latency.values())
    if answers.wrong > answers.asked:
        yield path, f"{answers.wrong} of {answers.asked} requests are wrong"
    elif in_time > answers.asked:
        yield path, f"{in_time} of {answers.asked} requests were answered in time"
    elif answers.degraded > answers.asked:
        yield path, f"{answers.degraded} of {answers.asked} answers were degraded"


def _sums(path: str, sums: UnitSums) -> Iterator[tuple[str, str]]:
    values = (sums.x, sums.y, sums.xx, sums.xy, sums.yy)
    if sums.units < 0 or not all(isfinite(value) for value in values):
        yield path, "has a number that is not finite, or fewer than no units"
        return
    slack = 1.0 + _ROUNDING
    if sums.xx < 0.0 or sums.yy < 0.0:
        yield path, "has a sum of squares below 0"
    elif sums.x**2 > sums.units * sums.xx * slack or sums.y**2 > sums.units * sums.yy * slack:
        yield path, "has sums of squares that are too small for its sums and units"
    elif sums.xy**2 > sums.xx * sums.yy * slack:
        yield path, "has a sum of products that is too large for its sums of squares"


def _shrunk(before: SlotEvidence, after: SlotEvidence) -> Iterator[tuple[str, str]]:
    now = {entry.weight_bp: entry for entry in after.steps}
    for entry in before.steps:
        if entry.weight_bp not in now:
            yield "steps", f"the step of {entry.weight_bp} basis points is no longer there"
            continue
        for arm in _ARMS:
            yield from _fewer(
                f"steps.{entry.weight_bp}.{arm}", getattr(entry, arm), getattr(now[entry.weight_bp], arm)
            )
    if before.watch is not None:
        if after.watch is None:
            yield "watch", "is no longer there"
            return
        for arm in _ARMS:
            yield from _fewer(f"watch.{arm}", getattr(before.watch, arm), getattr(after.watch, arm))


def _fewer(path: str, before: Answers | EarlierCounts, after: Answers) -> Iterator[tuple[str, str]]:
    for name in _COUNTED:
        was, number = getattr(before, name), getattr(after, name)
        if number < was:
            yield f"{path}.{name}", f"has fallen from {was} to {number}: counts only grow"
            return


def _reason(path: str, problem: str) -> Reason:
    return Reason("impossible_evidence", path, f"{problem}: {_REMEDY}")
