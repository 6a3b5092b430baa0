"""What a running service does with more than it can do.

    streamrec recommendations serve --workspace DIR --port 8000 &
    python tests/benchmarks/benchmark_overload.py 8000 120

120 is the capacity: what the service sustains in requests a second (`streamrec recommendations bench` finds
it). It is offered half of it, all, twice, five times as much, and half again. A line each: answers in time
(status 200 within 110 ms) as a part of the capacity, the slowest of the answers and of the refusals (99 in a
hundred are faster), how many answers were degraded, and how many requests got neither answer nor refusal.
"""

from __future__ import annotations

import sys
import time
from typing import Final

import numpy as np

from services.recommendations.load_tests.generator import run_load
from services.recommendations.load_tests.recording import Recording
from services.recommendations.load_tests.schedule import LoadSettings

IN_TIME_MS: Final = 110.0
DURATION_S: Final = 10.0
TIMES: Final = (0.5, 1.0, 2.0, 5.0, 0.5)
_HEADINGS: Final = (
    "offered",
    "in time / capacity",
    "answers p50",
    "p99",
    "refused",
    "p99",
    "degraded",
    "lost",
)


def measure(port: int, rps: float) -> Recording:
    """Offer so much, and half a second of it before."""
    settings = LoadSettings(rps, DURATION_S, warm_up_s=0.5, event_share=0.05, patience_s=5.0)
    return run_load(port, settings, time.monotonic() + 0.3)


def line_of(recording: Recording, rps: float, capacity_rps: float) -> str:
    """One line of the table."""
    counted = recording.times_s >= 0.5
    latency_ms = (recording.done_s - recording.times_s)[counted] * 1000.0
    status = recording.status[counted]
    answered, refused = status == 200, status == 503
    in_time = float((answered & (latency_ms <= IN_TIME_MS)).sum()) / DURATION_S
    degraded = float(recording.degraded[counted][answered].mean()) if answered.any() else 0.0
    return (
        f"{rps:7.0f} {in_time / capacity_rps:19.2f} {_percentile(latency_ms[answered], 50):12.0f}"
        f" {_percentile(latency_ms[answered], 99):5.0f} {int(refused.sum()):9d}"
        f" {_percentile(latency_ms[refused], 99):5.0f} {degraded:9.2f} {int((~answered & ~refused).sum()):6d}"
    )


def _percentile(values_ms: np.ndarray, percent: float) -> float:
    return float(np.percentile(values_ms, percent)) if len(values_ms) else float("nan")


def main() -> None:
    """Print the table."""
    port, capacity_rps = int(sys.argv[1]), float(sys.argv[2])
    print("  ".join(_HEADINGS))
    for times in TIMES:
        recording = measure(port, times * capacity_rps)
        print(line_of(recording, times * capacity_rps, capacity_rps), flush=True)


if __name__ == "__main__":
    main()
