"""What the service does with more than it can do: python tests/benchmarks/benchmark_overload.py [ITEMS]

For each placement of the stages it finds what the service sustains (p99 of 100 ms, 1 % degraded at most), and
offers half of that, all, twice and five times as much, and at last half again. A line each: answers within
110 ms as a part of the capacity, how fast answers and refusals were, how much was degraded, and how many
requests got neither. The last load says how long it took until the service was as before.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from services.recommendations.load_tests.capacity import CapacityLimits, find_capacity
from services.recommendations.load_tests.recording import Recording
from services.recommendations.load_tests.results import OK, REFUSED, percentile
from services.recommendations.load_tests.running_system import RunningSystem, running_system
from services.recommendations.load_tests.schedule import LoadSettings
from services.recommendations.load_tests.systems import System
from services.recommendations.load_tests.workspace import made_workspace
from services.recommendations.load_tests.world_settings import WorldSettings
from streamrec.command_line.progress import LineProgress

FOLDER: Final = Path("var/bench")
IN_TIME_MS: Final = 110.0
FIRST_RPS: Final = 40.0
TIMES: Final = (0.5, 1.0, 2.0, 5.0)
NORMAL_SHARE: Final = 0.95
"""Of a second's requests: so many in full and in time, and the service is as before."""
_LINE: Final = "{:>8} {:>19} {:>12} {:>6} {:>8} {:>6} {:>9} {:>5}"


def main(item_count: int) -> None:
    world = WorldSettings(item_count=item_count)
    made = made_workspace(FOLDER, world, LineProgress(lambda line: print(line, file=sys.stderr)))
    load = LoadSettings(rps=FIRST_RPS, duration_s=8.0, warm_up_s=2.0, user_count=world.user_count)
    for system in (System.TOGETHER, System.APART):
        with running_system(system, made, FOLDER / f"overload-{system}.log") as running:
            capacity_rps = capacity_of(running, load)
            print(f"{system}, {item_count:,} items, sustains {capacity_rps:.0f} requests a second")
            print(
                _LINE.format("offered", "in time / capacity", "answers p50", "p99", "refused", "p99", *_REST)
            )
            for times in TIMES:
                offered = replace(load, rps=times * capacity_rps, warm_up_s=1.0)
                recording, _ = running.record(offered)
                print(line_of(recording, offered, capacity_rps), flush=True)
            after = replace(load, rps=TIMES[0] * capacity_rps, duration_s=16.0, warm_up_s=0.0)
            recording, _ = running.record(after)
            print(line_of(recording, after, capacity_rps))
            print(f"as before {normal_after_s(recording):.0f} s into the last load\n", flush=True)


_REST: Final = ("degraded", "lost")


def capacity_of(running: RunningSystem, load: LoadSettings) -> float:
    """What it sustains; a rate is too much only where it was so twice."""
    limits = CapacityLimits()

    def sustains(rps: float) -> bool:
        return any(limits.hold(running.measure(replace(load, rps=rps, seed=seed))) for seed in (1, 2))

    return find_capacity(sustains, FIRST_RPS)


def line_of(recording: Recording, load: LoadSettings, capacity_rps: float) -> str:
    """One line of the table."""
    counted = recording.times_s >= load.warm_up_s
    waits_ms = (recording.done_s - recording.times_s)[counted] * 1000.0
    status = recording.status[counted]
    answered, refused = status == OK, status == REFUSED
    in_time_rps = float((answered & (waits_ms <= IN_TIME_MS)).sum()) / load.duration_s
    degraded = float(recording.degraded[counted][answered].mean()) if answered.any() else 0.0
    return _LINE.format(
        f"{load.rps:.0f}",
        f"{in_time_rps / capacity_rps:.2f}",
        _whole(percentile(waits_ms[answered], 50.0)),
        _whole(percentile(waits_ms[answered], 99.0)),
        int(refused.sum()),
        _whole(percentile(waits_ms[refused], 99.0)),
        f"{degraded:.0%}",
        int((~answered & ~refused).sum()),
    )


def normal_after_s(recording: Recording) -> float:
    """Seconds from the start of a load to the end of the last second that was not as it should be."""
    waits_ms = (recording.done_s - recording.times_s) * 1000.0
    good = (recording.status == OK) & ~recording.degraded & (waits_ms <= IN_TIME_MS)
    second = recording.times_s.astype(int)
    asked, well = np.bincount(second), np.bincount(second, weights=good)
    bad = np.flatnonzero(well < NORMAL_SHARE * asked)
    return float(bad[-1] + 1) if bad.size else 0.0


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
