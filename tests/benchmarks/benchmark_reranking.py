"""Latency of re-ranking 500 candidates in twelve languages: python tests/benchmarks/benchmark_reranking.py

Three cases: prices as they are fitted; prices so strong that every place of the slate is exchanged; a user
with the longest history that a request may carry, in a language that no candidate has.
"""

from __future__ import annotations

import time

import numpy as np

from services.recommendations.contracts.candidates import CANDIDATE_COUNT, Candidates, UserState
from services.recommendations.reranking.calibration import Calibration, ListCalibration
from services.recommendations.reranking.model import DiversityReranker
from streamrec.contracts.conventions import HISTORY_LIMIT

CALIBRATION = Calibration((ListCalibration(1.2), ListCalibration(0.6, 0.3), ListCalibration(0.7, 0.4, 0.9)))
LANGUAGES, ITEMS, REQUESTS = 12, 20_000, 3_000


def main() -> None:
    rng = np.random.default_rng(1)
    shares = np.geomspace(1.0, 0.03, LANGUAGES)
    codes = rng.choice(LANGUAGES, size=ITEMS, p=shares / shares.sum())
    ids = np.array([f"item-{row}" for row in range(ITEMS)])
    language_of = {str(item): f"l{code}" for item, code in zip(ids, codes, strict=True)}
    fitted = {f"l{code}": float(price) for code, price in enumerate(np.linspace(0.0, 0.01, LANGUAGES))}
    strong = {language: 100.0 * price for language, price in fitted.items()}
    usual = UserState("u", history=tuple(ids[rng.integers(ITEMS, size=100)].tolist()))
    longest = UserState("u", history=("unknown",) * HISTORY_LIMIT)
    for name, prices, user in (
        ("fitted prices", fitted, usual),
        ("every place exchanged", strong, usual),
        (f"history of {HISTORY_LIMIT}", strong, longest),
    ):
        reranker = DiversityReranker(language_of=language_of, exposure_prices=prices, calibration=CALIBRATION)
        elapsed, busy = np.empty((2, REQUESTS))
        for request in range(REQUESTS):
            rows = rng.choice(ITEMS, size=CANDIDATE_COUNT, replace=False)
            candidates = Candidates.from_scores(tuple(ids[rows].tolist()), rng.gumbel(size=CANDIDATE_COUNT))
            start, busy_start = time.perf_counter(), time.thread_time()
            reranker.rerank(candidates, user, 0.0)
            elapsed[request] = time.perf_counter() - start
            busy[request] = time.thread_time() - busy_start
        # On a machine that does other work too, the thread's own time is the one that compares.
        for clock, seconds in (("elapsed", elapsed), ("thread", busy)):
            p50, p95, p99 = np.percentile(seconds * 1000.0, [50, 95, 99])
            print(
                f"{CANDIDATE_COUNT} candidates, {name}, {clock}: p50 {p50:.3f} p95 {p95:.3f} p99 {p99:.3f} ms"
            )


if __name__ == "__main__":
    main()
