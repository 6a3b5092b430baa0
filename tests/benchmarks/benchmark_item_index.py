"""Exact search, the default lists and what a sweep chooses: python tests/benchmarks/benchmark_item_index.py

One thread, 500 items of 64 dimensions a query. Vectors are clustered, as trained ones are; queries are items
with noise. Real vectors cluster otherwise (`streamrec recommendations index tune --replicate-to 200000`
measures those): what is to be compared are the rows of one size in one run. At 200,000 items the choice of a
sweep over both kinds of lists has to find 0.99 of the exact answer in a third of its time; the last line says
whether it did.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.recommendations.item_index.settings import IndexKind, IndexSettings
from services.recommendations.item_index.tuning import Queries, tune
from services.recommendations.item_index.tuning_report import Measurement, TuningLimits
from streamrec.contracts.progress import SilentProgress

DIMENSION, CLUSTERS, QUERIES, SIZES = 64, 400, 200, (20_000, 50_000, 200_000)
TARGET_TIME_SHARE = 1 / 3


def clustered(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    centres = rng.normal(size=(CLUSTERS, DIMENSION))
    return (centres[rng.integers(CLUSTERS, size=size)] + rng.normal(size=(size, DIMENSION))).astype(
        np.float32
    )


def show(size: int, name: str, measurement: Measurement) -> None:
    print(
        f"{size:>8,} {name:<42} {measurement.median_ms:>7.3f} {measurement.p99_ms:>7.3f} "
        f"{measurement.recall.value:>8.4f} {measurement.recall.low:>8.4f} "
        f"{measurement.memory_bytes / 2**20:>6.0f} {measurement.build_s:>7.1f}",
        flush=True,
    )


def main() -> None:
    limits, rng = TuningLimits(), np.random.default_rng(1)
    heads = f"{'p50 ms':>7} {'p99 ms':>7} {'recall':>8} {'low':>8} {'MiB':>6} {'build s':>7}"
    print(f"{'items':>8} {'index':<42} {heads}")
    for size in SIZES:
        vectors = clustered(size, rng)
        ids = tuple(f"item-{row}" for row in range(size))
        chosen = rng.integers(size, size=QUERIES)
        noise = rng.normal(scale=0.5, size=(QUERIES, DIMENSION)).astype(np.float32)
        queries = Queries(vectors[chosen] + noise, [np.empty(0, dtype=np.int64)] * QUERIES)
        kinds = (IndexKind.IVF_FLAT, IndexKind.IVF_SQ8) if size == max(SIZES) else ()
        default = IndexSettings(exact_limit=0)
        report = tune(ids, vectors, queries, limits, kinds=kinds, also=[default], progress=SilentProgress())
        show(size, "exact", report.chosen_exact)
        show(size, "default lists", report.measurements[-1])
        if kinds:
            show(size, f"chosen: {report.chosen.label}", report.chosen)
            share = report.chosen.median_ms / report.chosen_exact.median_ms
            met = report.chosen.recall.low >= limits.minimum_recall and share <= TARGET_TIME_SHARE
            print(f"chosen: {share:.0%} of the time of exact search; {'met' if met else 'MISSED'}")


if __name__ == "__main__":
    main()
