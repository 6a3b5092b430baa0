"""Appending to the event log, waiting for the disk or not, and reading it all:
python tests/benchmarks/benchmark_event_log.py
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from streamrec.contracts.events import Impression, InteractionKind, Outcome, Propensity
from streamrec.contracts.slots import ServingRole
from streamrec.events.async_event_log import AsyncEventLog
from streamrec.events.file_event_log import FileEventLog

APPENDS, CLIENTS = 500, 64
REQUESTS, SLATE = 10_000, 10
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
    reading()


def reading() -> None:
    """Processor time of reading every event, from segments and from Parquet."""
    with tempfile.TemporaryDirectory() as folder:
        log = FileEventLog(Path(folder))
        for number in range(REQUESTS):
            log.append([impression(number), outcome(f"e{number}")], durable=False)
        log.close()
        for form in ("segments", "Parquet"):
            start_s = time.process_time()
            assert len(log.snapshot().impressions) == REQUESTS
            spent_s = time.process_time() - start_s
            print(
                f"reading {form:9} {1e6 * spent_s / (2 * REQUESTS):7.1f} us of processor time an event",
                flush=True,
            )
            log.compact()


def impression(number: int) -> Impression:
    return Impression(
        request_id=f"r{number}",
        unit=f"user-{number % 1000}",
        slot="search.ranking",
        role=ServingRole.CHAMPION,
        version="search-ranking@3",
        predicted_at=NOW,
        item_ids=tuple(f"item-{number + position}" for position in range(SLATE)),
        scores=tuple(1.0 / (1 + position) for position in range(SLATE)),
        versions={"search.retrieval": "search-retrieval@2", "search.ranking": "search-ranking@3"},
        propensity=Propensity.certain(SLATE),
        extension={"schema": "search.impression.v1", "latency_ms": 12.5},
    )


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
    return Outcome(event_id, "user", "item", InteractionKind.CLICK, NOW, NOW)


def show(name: str, elapsed_ms: list[float]) -> None:
    p50, p99 = np.percentile(elapsed_ms, (50, 99))
    print(f"{name:32} p50 {p50:7.3f} ms   p99 {p99:7.3f} ms", flush=True)


if __name__ == "__main__":
    main()
