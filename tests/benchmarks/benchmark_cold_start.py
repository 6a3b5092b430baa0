"""Latency of cold start, 64 dimensions: python tests/benchmarks/benchmark_cold_start.py"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from services.recommendations.cold_start.canonical_basis import CanonicalBasis
from services.recommendations.cold_start.model import Blend, ColdStartModel
from services.recommendations.cold_start.popularity import LanguagePopularity
from services.recommendations.cold_start.predictive import gaussian_widths
from services.recommendations.cold_start.prior import SegmentPrior
from services.recommendations.cold_start.segments import SegmentDesign
from services.recommendations.contracts.candidates import CANDIDATE_COUNT, UserState
from services.recommendations.item_index.index import ItemIndex

DIMENSION, ITEMS, REPEATS = 64, 20_000, 2_000


def main() -> None:
    rng = np.random.default_rng(1)
    mixing = np.linalg.qr(rng.normal(size=(DIMENSION, DIMENSION)))[0] * 5.0
    variance = np.geomspace(2.0, 0.1, DIMENSION)
    basis = CanonicalBasis(mixing, np.linalg.inv(mixing), np.zeros(DIMENSION), variance)
    design = SegmentDesign(((), (), (), ()))
    prior = SegmentPrior(
        design, np.zeros(DIMENSION), variance, np.zeros((1, 8)), np.zeros((8, 1, 1)), np.zeros((4, 8))
    )
    vectors = rng.normal(size=(ITEMS, DIMENSION)).astype(np.float32)
    index = ItemIndex.build(tuple(f"item-{row}" for row in range(ITEMS)), vectors)
    popularity = LanguagePopularity.from_interactions(
        rng.integers(ITEMS, size=100_000),
        ["unknown"] * 100_000,
        ITEMS,
        pseudo_interactions=1.0,
        minimum_interactions=1,
        maximum_languages=1,
    )
    model = ColdStartModel(
        index,
        basis,
        prior,
        popularity,
        Blend(0.2, 0.3, 1.0, 0.3),
        gaussian_widths(index.dimension),
    )
    user = UserState("u", history=tuple(f"item-{row}" for row in range(5)))
    posterior = model.posterior(user)
    clicked = model.item_coordinates[0].astype(np.float64)
    _time("update and draw", lambda: posterior.observed(clicked, 1).draw(rng))
    _time("posterior from 5 clicks", lambda: model.posterior(user))
    _time(f"retrieve {CANDIDATE_COUNT}", lambda: model.retrieve(user, CANDIDATE_COUNT, rng))


def _time(name: str, work: Callable[[], object]) -> None:
    work()
    elapsed, busy = np.empty((2, REPEATS))
    for repeat in range(REPEATS):
        start, busy_start = time.perf_counter(), time.thread_time()
        work()
        elapsed[repeat] = time.perf_counter() - start
        busy[repeat] = time.thread_time() - busy_start
    p50, p99 = np.percentile(elapsed * 1000.0, [50, 99])
    thread_p50, thread_p99 = np.percentile(busy * 1000.0, [50, 99])
    print(
        f"{name}: p50 {p50:.3f} p99 {p99:.3f} ms; of the thread p50 {thread_p50:.3f} p99 {thread_p99:.3f} ms"
    )


if __name__ == "__main__":
    main()
