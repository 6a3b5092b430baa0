"""Latency of re-ranking 500 candidates in twelve languages: python tests/benchmarks/benchmark_reranking.py"""

from __future__ import annotations

import time

import numpy as np

from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.types import CANDIDATE_COUNT, Candidates, UserState

LANGUAGES, ITEMS, REQUESTS = 12, 20_000, 5_000


def main() -> None:
    rng = np.random.default_rng(1)
    shares = np.geomspace(1.0, 0.03, LANGUAGES)
    codes = rng.choice(LANGUAGES, size=ITEMS, p=shares / shares.sum())
    ids = np.array([f"item-{row}" for row in range(ITEMS)])
    language_of = {str(item): f"l{code}" for item, code in zip(ids, codes, strict=True)}
    prices = {f"l{code}": float(price) for code, price in enumerate(np.geomspace(0.001, 0.03, LANGUAGES))}
    reranker = DiversityReranker(language_of=language_of, language_prices=prices)
    elapsed, busy = np.empty((2, REQUESTS))
    for request in range(REQUESTS):
        rows = rng.choice(ITEMS, size=CANDIDATE_COUNT, replace=False)
        candidates = Candidates.from_scores(tuple(ids[rows].tolist()), rng.gumbel(size=CANDIDATE_COUNT))
        user = UserState("u", history=tuple(ids[rng.integers(ITEMS, size=100)].tolist()))
        start, busy_start = time.perf_counter(), time.thread_time()
        reranker.rerank(candidates, user, 0.0)
        elapsed[request] = time.perf_counter() - start
        busy[request] = time.thread_time() - busy_start
    # On a machine that does other work too, the thread's own time is the one that compares.
    for name, seconds in (("elapsed", elapsed), ("thread", busy)):
        p50, p95, p99 = np.percentile(seconds * 1000.0, [50, 95, 99])
        print(f"{CANDIDATE_COUNT} candidates, {name}: p50 {p50:.3f} p95 {p95:.3f} p99 {p99:.3f} ms")


if __name__ == "__main__":
    main()
