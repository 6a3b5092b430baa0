"""Doing less for every request before any is refused.

A brown-out (Klein, Maggio, Årzén and Hernández-Rodriguez, "Brownout: Building more robust cloud
applications", ICSE 2014): as a service fills up, it leaves out what it can best do without, so that the same
machine answers more. Here in steps with hysteresis: the room that a step makes must not at once take it back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class BrownOutSettings:
    """When a service does less.

    Attributes:
        rises_at: Pressure at which each step is taken, in rising order. Pressure is the part of its places
            that a service has given away, over the last ``memory_s``; 1 where it refuses.
        falls_at: Pressure up to which a step is taken back.
        calm_s: How long the pressure must have stayed so low.
        memory_s: Over how long the pressure is averaged; also the least time between two steps up.
    """

    rises_at: tuple[float, ...] = (0.3, 0.5)
    falls_at: float = 0.15
    calm_s: float = 2.0
    memory_s: float = 1.0

    def __post_init__(self) -> None:
        steps = (0.0, self.falls_at, *self.rises_at)
        if any(low >= high for low, high in pairwise(steps)) or steps[-1] > 1.0:
            raise ValueError("a brown-out needs 0 < falls_at < rises_at in rising order, up to 1")
        if not (0.0 < self.calm_s < math.inf and 0.0 < self.memory_s < math.inf):
            raise ValueError("calm_s and memory_s must be above 0 and finite")


class BrownOut:
    """How much is left out, by how full the service is. Pure: it is told the time."""

    def __init__(self, settings: BrownOutSettings | None = None) -> None:
        self._settings = settings or BrownOutSettings()
        self._level = 0
        self._pressure = 0.0
        self._observed_at_s = -math.inf
        self._rose_at_s = -math.inf
        self._calm_since_s: float | None = None

    @property
    def level(self) -> int:
        """Steps taken: 0 where everything is done."""
        return self._level

    @property
    def pressure(self) -> float:
        """How full the service is, 0 to 1."""
        return self._pressure

    @property
    def is_calm(self) -> bool:
        """Whether the pressure is so low that a step would be taken back."""
        return self._pressure <= self._settings.falls_at

    def observe(self, share: float, now_s: float) -> None:
        """Take note of how full the service is as a request comes.

        Args:
            share: Part of its places that are given away; 1 where the request found none.
            now_s: Of a clock that never goes back.
        """
        gap_s = now_s - self._observed_at_s
        self._observed_at_s = now_s
        if gap_s >= self._settings.calm_s:
            # Nobody came for so long: whatever was, is over.
            self._level, self._pressure, self._calm_since_s = 0, 0.0, None
            return
        weight = -math.expm1(-gap_s / self._settings.memory_s)
        self._pressure += weight * (share - self._pressure)
        self._step(now_s)

    def _step(self, now_s: float) -> None:
        settings = self._settings
        if self._pressure > settings.falls_at:
            self._calm_since_s = None
        elif self._calm_since_s is None:
            self._calm_since_s = now_s
        may_rise = self._level < len(settings.rises_at) and now_s - self._rose_at_s >= settings.memory_s
        if may_rise and self._pressure >= settings.rises_at[self._level]:
            self._level += 1
            self._rose_at_s = now_s
        elif self._level > 0 and self._has_been_calm(now_s):
            self._level -= 1
            self._calm_since_s = now_s

    def _has_been_calm(self, now_s: float) -> bool:
        return self._calm_since_s is not None and now_s - self._calm_since_s >= self._settings.calm_s
