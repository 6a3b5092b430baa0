"""Appending to the event log, waiting for the disk or not: python tests/benchmarks/benchmark_event_log.py"""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from streamrec.contracts.events import EventKind, Outcome
from streamrec.events.async_event_log import AsyncEventLog
from streamrec.events.file_event_log import FileEventLog

APPENDS, CLIENTS = 500, 64
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = FileEventLog(Path(folder))
        for durable in (True, False):
            elapsed_ms = []
            for number in range(APPENDS):
                start_s = time.perf_counter()
                log.append([outcome(f"{durable}-{number}")], durable=durable)
                elapsed_ms.append((time.perf_counter() - start_s) * 1000.0)
            show(f"one thread, durable={durable}", elapsed_ms)
        start_s = time.perf_counter()
        show(f"{CLIENTS} clients, durable=True", asyncio.run(together(AsyncEventLog(log))))
        print(f"{CLIENTS * APPENDS / (time.perf_counter() - start_s):,.0f} acknowledged events a second")
        log.close()


async def together(log: AsyncEventLog) -> list[float]:
    elapsed_ms: list[float] = []

    async def client(name: int) -> None:
        for number in range(APPENDS):
            start_s = time.perf_counter()
            await log.append([outcome(f"{name}-{number}")], durable=True)
            elapsed_ms.append((time.perf_counter() - start_s) * 1000.0)

    await asyncio.gather(*(client(name) for name in range(CLIENTS)))
    await log.close()
    return elapsed_ms


def outcome(event_id: str) -> Outcome:
    return Outcome(event_id, "user", "item", EventKind.CLICK, NOW, NOW)


def show(name: str, elapsed_ms: list[float]) -> None:
    p50, p99 = np.percentile(elapsed_ms, (50, 99))
    print(f"{name:32} p50 {p50:7.3f} ms   p99 {p99:7.3f} ms", flush=True)


if __name__ == "__main__":
    main()
