"""Time and memory of making worlds up to full size: python tests/benchmarks/benchmark_world.py

Processor time of this process, so that what else the machine does is not counted.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

from services.recommendations.world.generate import generate_world
from services.recommendations.world.settings import WorldSettings
from streamrec.contracts.progress import SilentProgress

SIZES = ((5_000, 20_000), (50_000, 200_000))
"""Users and items: the demo's world, and StreamRec's catalogue."""


def main() -> None:
    print("users    items    interactions  processor s  peak memory of the process so far, MB")
    for users, items in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            started = time.process_time()
            summary = generate_world(
                WorldSettings(users=users, items=items, seed=1), Path(folder), SilentProgress()
            )
            cpu_s = time.process_time() - started
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{users:<8,} {items:<8,} {summary.interactions:<13,} {cpu_s:<12.1f} {peak_mb:.0f}")


if __name__ == "__main__":
    main()
