"""Exact search against inverted lists, one thread, 500 items: python tests/benchmarks/benchmark_item_index.py

Vectors are clustered, as trained ones are; queries are items with noise. Real vectors cluster otherwise: what
is to be compared are the two rows of one size in one run.
"""

from __future__ import annotations

import time

import numpy as np

from services.recommendations.item_index import IndexSettings, ItemIndex
from services.recommendations.types import CANDIDATE_COUNT

DIMENSION, CLUSTERS, QUERIES, SIZES = 64, 400, 200, (20_000, 50_000, 200_000)


def main() -> None:
    print(f"{'items':>8} {'index':>8} {'p50 ms':>8} {'p99 ms':>8} {'recall':>8}")
    rng = np.random.default_rng(1)
    for size in SIZES:
        centres = rng.normal(size=(CLUSTERS, DIMENSION))
        vectors = centres[rng.integers(CLUSTERS, size=size)] + rng.normal(size=(size, DIMENSION))
        ids = tuple(f"item-{row}" for row in range(size))
        chosen = rng.integers(size, size=QUERIES)
        queries = (vectors[chosen] + rng.normal(scale=0.5, size=(QUERIES, DIMENSION))).astype(np.float32)
        found = {}
        for name, limit in (("exact", size), ("lists", 0)):
            index = ItemIndex.build(ids, vectors.astype(np.float32), IndexSettings(exact_limit=limit))
            elapsed_ms, lists = [], []
            for query in queries:
                start_s = time.perf_counter()
                lists.append(set(index.search(query, CANDIDATE_COUNT).item_ids))
                elapsed_ms.append((time.perf_counter() - start_s) * 1000.0)
            found[name] = lists
            shared = [len(a & b) / CANDIDATE_COUNT for a, b in zip(found["exact"], lists, strict=True)]
            p50, p99 = np.percentile(elapsed_ms, (50, 99))
            print(f"{size:>8,} {name:>8} {p50:>8.2f} {p99:>8.2f} {np.mean(shared):>8.4f}", flush=True)


if __name__ == "__main__":
    main()
