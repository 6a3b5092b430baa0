"""What one training run cost: time, processor time and memory of this process."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

_STATUS_FILE: Final = Path("/proc/self/status")
_RESET_FILE: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"
"""Resets the high-water mark of resident memory; proc(5), Linux 4.0 and later."""

T = TypeVar("T")


@dataclass(frozen=True)
class TrainingCost:
    """Resources of one run.

    Attributes:
        wall_s: Seconds on the clock.
        cpu_s: Processor seconds of this process and of children that have ended, user and system.
        peak_memory_bytes: Largest resident memory of this process.
        peak_since_start: Whether the peak is that since the process started, because this system cannot
            reset it; it may then belong to earlier work.
        interactions: Training interactions that the run could look at.
    """

    wall_s: float
    cpu_s: float
    peak_memory_bytes: int
    peak_since_start: bool
    interactions: int


def measured(work: Callable[[], T], interactions: int) -> tuple[T, TrainingCost]:
    """Do ``work`` and say what it cost. Whatever it raises is raised."""
    resettable = _reset_peak()
    cpu_s, start_s = _cpu_seconds(), time.monotonic()
    result = work()
    wall_s, cpu_s = time.monotonic() - start_s, _cpu_seconds() - cpu_s
    peak_bytes = _resettable_peak_bytes() if resettable else None
    return result, TrainingCost(
        wall_s=wall_s,
        cpu_s=cpu_s,
        peak_memory_bytes=_peak_bytes_since_start() if peak_bytes is None else peak_bytes,
        peak_since_start=peak_bytes is None,
        interactions=interactions,
    )


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _reset_peak() -> bool:
    try:
        _RESET_FILE.write_text(_RESET_PEAK)
    except OSError:  # another system, or a sandbox that forbids it: the return value says so
        return False
    return True


def _resettable_peak_bytes() -> int | None:
    for line in _STATUS_FILE.read_text().splitlines():
        name, _, amount = line.partition(":")
        if name == "VmHWM":
            return int(amount.split()[0]) * 1024
    return None


def _peak_bytes_since_start() -> int:
    unit_bytes = 1 if sys.platform == "darwin" else 1024  # getrusage(2) of macOS and of everyone else
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes
