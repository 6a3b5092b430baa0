"""How many requests may be under way at once, found by measuring how long they take.

A gradient limit (Netflix's `concurrency-limits`, Gradient2Limit: limit times tolerated latency over measured
latency, at least halved; Envoy's adaptive concurrency filter works alike). There, what is tolerated is a
multiple of the latency without load alone. Here requests have deadlines, so the queue may take what the
deadline leaves: a short burst is absorbed, and a longer one is refused while those before it are in time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_FASTEST: Final = 0.1
"""The quantile of a window that is taken for requests that met no other."""


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """How a limit is found.

    Attributes:
        initial: Requests under way at once, before anything is measured.
        minimum, maximum: What the limit stays between, whatever is measured.
        tolerated_share: Part of its time that a request may take without the limit falling.
        highest_share: The same where requests take long even without a queue: never more than this.
        over_unloaded: How many times as long as without load a request may take, up to ``highest_share``.
        quantile: Which of the measured requests is held against that.
        window_s, window_requests: A window of measurements is as long as both of them say.
        memory: Weight of what was known before, when the latency without load is measured again.
    """

    initial: float = 16.0
    minimum: float = 4.0
    maximum: float = 64.0
    tolerated_share: float = 0.5
    highest_share: float = 0.8
    over_unloaded: float = 2.0
    quantile: float = 0.5
    window_s: float = 0.1
    window_requests: int = 10
    memory: float = 0.8

    def __post_init__(self) -> None:
        if not 1.0 <= self.minimum <= self.initial <= self.maximum < math.inf:
            raise ValueError("a limit needs 1 <= minimum <= initial <= maximum, all finite")
        if not 0.0 < self.tolerated_share <= self.highest_share <= 1.0:
            raise ValueError("a limit needs 0 < tolerated_share <= highest_share <= 1")
        if not (0.0 < self.quantile < 1.0 and 0.0 <= self.memory < 1.0):
            raise ValueError("quantile must lie between 0 and 1, memory in 0..1")
        if self.window_requests < 1 or not self.window_s > 0.0 or not self.over_unloaded >= 1.0:
            raise ValueError("a window needs a request and some time, and over_unloaded is 1 or more")


class ConcurrencyLimit:
    """The limit, moved by what is measured. Pure: it is told the time."""

    def __init__(self, settings: LimitSettings | None = None) -> None:
        self._settings = settings or LimitSettings()
        self._limit = self._settings.initial
        self._unloaded: float | None = None
        self._window: list[float] = []
        self._window_began_s: float | None = None
        self._was_reached = False

    @property
    def current(self) -> int:
        """Requests that may be under way at once."""
        return int(self._limit)

    @property
    def tolerated(self) -> float:
        """Part of its time that a request may take now without the limit falling."""
        settings = self._settings
        of_unloaded = settings.over_unloaded * (self._unloaded or 0.0)
        return min(settings.highest_share, max(settings.tolerated_share, of_unloaded))

    def reached(self) -> None:
        """Say that a request came while the limit was reached: more might have been done."""
        self._was_reached = True

    def measured(self, share: float, now_s: float) -> None:
        """Take note of a request that is done.

        Args:
            share: Part of its time that it took: its latency from the first byte over the time that a request
                is to take at most. Waiting counts. Above 1 it was late.
            now_s: Of a clock that never goes back.
        """
        if self._window_began_s is None:
            self._window_began_s = now_s
        self._window.append(share)
        long_enough = now_s - self._window_began_s >= self._settings.window_s
        if long_enough and len(self._window) >= self._settings.window_requests:
            self._move()
            self._window.clear()
            self._window_began_s, self._was_reached = now_s, False

    def _move(self) -> None:
        settings, slow = self._settings, _quantile(self._window, self._settings.quantile)
        if not self._was_reached:
            self._learn_unloaded(_quantile(self._window, _FASTEST))
        tolerated = self.tolerated
        if slow > tolerated:
            self._limit *= max(0.5, tolerated / slow)
        elif self._was_reached or (slow <= 0.5 * tolerated and self._limit < settings.initial):
            # As TCP in congestion avoidance: one more for every window in which there was time to spare. What
            # nobody asks for is not tried beyond where it began.
            self._limit += 1.0
        self._limit = min(settings.maximum, max(settings.minimum, self._limit))

    def _learn_unloaded(self, share: float) -> None:
        """What the fastest take while nothing is refused is what they need; with a queue it says nothing."""
        before = share if self._unloaded is None else self._unloaded
        self._unloaded = self._settings.memory * before + (1.0 - self._settings.memory) * share


def _quantile(values: Sequence[float], quantile: float) -> float:
    return sorted(values)[math.ceil(quantile * len(values)) - 1]
