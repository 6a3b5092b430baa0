"""What had been counted at earlier moments of a step: one a minute, thinned out as they grow old.

A fault that begins late is found in what came since such a moment. The moments are chosen by the clock alone,
never by what was counted. They are in memory only: after a restart they begin anew, and all that is lost is
some speed in finding such a fault.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from streamrec.contracts.rollouts.evidence import EarlierCounts, StepEvidence
from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.rollout.driving.course import Stretch

_MAXIMUM_MOMENTS: Final = 16
_MINUTE_S: Final = 60.0


@dataclass
class Moments:
    """Those of every rollout that is looked at. Safe to use from several threads."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _kept: dict[tuple[str, str], tuple[tuple[RolloutPhase, int], dict[int, EarlierCounts]]] = field(
        default_factory=dict
    )

    def earlier(
        self, rollout: str, slot: str, stretch: Stretch, counts: StepEvidence, now: datetime
    ) -> tuple[EarlierCounts, ...]:
        """Moments about 1, 2, 4, 8 ... minutes ago, oldest first, at most 16; and remember this one.

        Args:
            rollout, slot: Whose.
            stretch: The step in force, or the watch.
            counts: What has been counted under it by now.
            now: The time of the look.
        """
        minute = int((now - stretch.start).total_seconds() // _MINUTE_S)
        step = (stretch.phase, stretch.weight_bp)
        with self._lock:
            of_step, moments = self._kept.get((rollout, slot), (step, {}))
            if of_step != step:
                moments = {}
            if minute >= 1 and not any(number >= minute for number in moments):
                moments[minute] = EarlierCounts(
                    minute, counts.champion, counts.challenger, counts.shadow, counts.holdback
                )
            moments = {number: one for number, one in moments.items() if _stays(number, minute)}
            self._kept[rollout, slot] = (step, moments)
        chosen = set()
        for power in range(_MAXIMUM_MOMENTS):
            old = [number for number in moments if minute - number >= 2**power]
            if old:
                chosen.add(max(old))
        return tuple(moments[number] for number in sorted(chosen))

    def keep_only(self, rollouts: Collection[str]) -> None:
        """Forget all others."""
        with self._lock:
            self._kept = {key: kept for key, kept in self._kept.items() if key[0] in rollouts}


def _stays(number: int, minute: int) -> bool:
    """Whether a moment is kept: of those that are n minutes old, about four up to 2 n."""
    spacing = 1 << max(0, max(1, minute - number).bit_length() - 2)
    return number % spacing == 0
