"""The course of a rollout so far: which steps have begun, and from when to when each was in force. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from streamrec.contracts.rollouts.state import RolloutPhase, RolloutState

_SERVING = (RolloutPhase.SHADOW, RolloutPhase.CANARY, RolloutPhase.WATCH)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A step, the shadow or the watch, in force.

    Attributes:
        phase: Which.
        weight_bp: Share of the challenger: 0 in the shadow and in the watch.
        start: When it began.
        end: When the next one began; None where it is in force, or was the last.
    """

    phase: RolloutPhase
    weight_bp: int
    start: datetime
    end: datetime | None


def course_of(states: Sequence[RolloutState]) -> tuple[Stretch, ...]:
    """What has begun, in order.

    Args:
        states: Those of one rollout, oldest first.
    """
    begun: list[tuple[RolloutPhase, int, datetime]] = []
    for state in states:
        place = (state.phase, state.weight_bp)
        if not begun or begun[-1][:2] != place:
            begun.append((*place, state.phase_began_at))
    ends: list[datetime | None] = [after[2] for _, after in pairwise(begun)]
    return tuple(
        Stretch(phase, weight_bp, start, end)
        for (phase, weight_bp, start), end in zip(begun, [*ends, None], strict=False)
        if phase in _SERVING
    )
