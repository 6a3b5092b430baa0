"""How long an event loop is held up while the features of all items are read again beside it:
python tests/benchmarks/benchmark_item_refresh.py [ITEMS]

A loop wakes up every millisecond and notes how late it is: alone, while a thread refreshes as the gateway
does, and while one reads the whole item table at once.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from services.recommendations.gateway.live_items import ItemFeatureSettings, ItemRefresh, LiveItems
from services.recommendations.pipeline.served_items import ServedItems
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset
from streamrec.features import materialization
from streamrec.features.feast_store import FeastFeatureStore
from streamrec.features.settings import FeatureSettings
from streamrec.items.memory_item_log import MemoryItemLog

REPOSITORY = Path(__file__).resolve().parents[2] / "feature_repo"
LANGUAGES = ("English", "French", "Hindi", "Finnish", "German")
REPEATS = 5


def main(item_count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = FeatureSettings(Path(folder) / "features", REPOSITORY)
        materialization.materialize(settings, catalogue_of(item_count))
        store = FeastFeatureStore(settings)
        items = LiveItems(ServedItems.from_counts(store.item_counts()), MemoryItemLog())
        # Reads with every call: no time is too short.
        refresh = ItemRefresh(store, items, ItemFeatureSettings(refresh_s=0.0))
        print(f"{item_count:,} items; {REPEATS} times each")
        measure("nothing beside it", lambda: time.sleep(0.5))
        measure("refreshed in steps", refresh.refresh)
        measure("the item table at once", lambda: ServedItems.from_item_table(store.item_table()))
        store.close()


def measure(name: str, beside: Callable[[], object]) -> None:
    late_ms: list[float] = []
    elapsed_s: list[float] = []

    def work() -> None:
        for _ in range(REPEATS):
            start_s = time.perf_counter()
            beside()
            elapsed_s.append(time.perf_counter() - start_s)

    async def watch() -> None:
        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            before_s = time.perf_counter()
            await asyncio.sleep(0.001)
            late_ms.append((time.perf_counter() - before_s) * 1000.0 - 1.0)

    asyncio.run(watch())
    p50, p99, worst = np.percentile(late_ms, (50, 99, 100))
    print(
        f"  {name:24} {np.mean(elapsed_s):6.2f} s each; a wake-up is late by p50 {p50:5.2f}  p99 {p99:6.2f}  "
        f"at most {worst:6.2f} ms",
        flush=True,
    )


def catalogue_of(count: int) -> Dataset:
    rng = np.random.default_rng(0)
    ids = tuple(f"item-{n:07d}" for n in range(count))
    languages = tuple(LANGUAGES[n % len(LANGUAGES)] for n in range(count))
    dates = np.full(count, np.datetime64("2020-01-01", "s"))
    creators = tuple(f"creator-{n % 5_000}" for n in range(count))
    catalogue = Catalogue(ids, ids, creators, languages, (("topic",),) * count, dates)
    played = rng.integers(0, count, 2 * count)
    start = pd.Timestamp("2025-01-01", tz="UTC")
    interactions = pd.DataFrame(
        {
            "user_id": [f"user-{n % 50}" for n in range(len(played))],
            "item_id": np.array(ids, dtype=object)[played],
            "timestamp": start + pd.to_timedelta(np.arange(len(played)), unit="s"),
        }
    )
    interactions["timestamp"] = interactions["timestamp"].dt.as_unit("ns")
    users = pd.DataFrame({"user_id": [f"user-{n}" for n in range(50)], "country": "FR", "language": "fr"})
    users = users.assign(age_band="unknown", signup_channel="web", signed_up_at=pd.NaT)
    users["signed_up_at"] = pd.to_datetime(users["signed_up_at"], utc=True).dt.as_unit("ns")
    return Dataset(Path(), catalogue, interactions, users)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
