"""Choosing the item index by measurement: which kind, with which parameters, is fastest at the recall wanted.

Every candidate is searched through `ItemIndex` as it serves: 500 items, the user's history excluded, one
thread. Recall is the share of what exact search finds, by user. The choice is made on one half of the users
and has to hold on the other half, so the fastest of many lucky ones is not taken for good.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.item_index.index import MINIMUM_POINTS_PER_LIST, PROBED_SHARE, ItemIndex
from services.recommendations.item_index.settings import IndexKind, IndexSettings
from services.recommendations.item_index.tuning_report import Measurement, TuningLimits, TuningReport
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.progress import Progress
from streamrec.stats.intervals import bootstrap_mean

MINIMUM_QUERIES: Final = 20
"""Fewer users say nothing about a mean recall near 1."""

_ROUNDS: Final = 3
"""Every query is timed this often, all queries in turn; its fastest time counts: the rest is other work."""
_REACHED: Final = 2
"""How many ways of searching one index are measured beyond which nothing faster is to be found."""
_TIE: Final = 1.1
"""Times within this factor of the fastest are a tie."""
_PROBED_SHARES: Final = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
_RESCORED_SHARES: Final = (1.0, 1.2)
_SEARCH_DEPTHS: Final = (512, 1024, 2048)
_LISTS_PER_ROOT: Final = (1, 2, 4)
"""Inverted lists per square root of the number of items, before rounding to a power of two."""


@dataclass(frozen=True)
class Queries:
    """What is searched for.

    Attributes:
        vectors: Shape (q, d), float32: user vectors.
        excluded_rows: Length q: rows of each user's history.
    """

    vectors: NDArray[np.float32]
    excluded_rows: Sequence[NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.vectors)

    def half(self, which: int) -> Queries:
        """Every second query, from number ``which``, 0 or 1."""
        return Queries(self.vectors[which::2], self.excluded_rows[which::2])


def candidate_settings(
    item_count: int, candidate_count: int, kinds: Sequence[IndexKind], seed: int
) -> list[list[IndexSettings]]:
    """What is worth trying.

    Args:
        item_count: Items to index.
        candidate_count: Items that one query asks for; `ItemIndex` looks into enough lists to hold them.
        kinds: Kinds to try.
        seed: Of k-means.

    Returns:
        One list for each index to build; its members differ in the search alone, from the fastest to the
        most thorough.
    """
    most_lists = max(1, item_count // MINIMUM_POINTS_PER_LIST)
    roots = [2 ** round(np.log2(factor * np.sqrt(item_count))) for factor in _LISTS_PER_ROOT]
    list_counts = sorted({int(min(lists, most_lists)) for lists in roots})
    builds: list[list[IndexSettings]] = []
    for kind in kinds:
        base = IndexSettings(exact_limit=0, kind=kind, seed=seed)
        if kind is IndexKind.HNSW:
            builds.append([replace(base, search_depth=depth) for depth in _SEARCH_DEPTHS])
        elif kind is not IndexKind.EXACT:
            rescored = _RESCORED_SHARES if kind is IndexKind.IVF_SQ8 else (base.rescored_share,)
            for lists in list_counts:
                fewest = math.ceil(PROBED_SHARE * candidate_count * lists / item_count)
                probes = sorted({max(fewest, round(share * lists)) for share in _PROBED_SHARES})
                builds.append(
                    [
                        replace(base, list_count=lists, probe_count=probe, rescored_share=share)
                        for probe in probes
                        if probe < lists
                        for share in rescored
                    ]
                )
    return [options for options in builds if options]


def tune(
    item_ids: tuple[str, ...],
    vectors: NDArray[np.float32],
    queries: Queries,
    limits: TuningLimits,
    *,
    kinds: Sequence[IndexKind] = tuple(IndexKind),
    also: Sequence[IndexSettings] = (),
    seed: int = 1,
    progress: Progress,
) -> TuningReport:
    """Measure and choose; see `TuningReport.reaches_limits` for whether anything was good enough.

    Args:
        item_ids: Length n.
        vectors: Shape (n, d).
        queries: At least `MINIMUM_QUERIES` in each half.
        limits: What must be reached.
        kinds: What to try beside exact search.
        also: More settings to try, for example those in use.
        seed: Of k-means and of the bootstrap.
        progress: Shows the indexes built.

    Raises:
        InvalidInputError: Too few queries.
    """
    if len(queries) < 2 * MINIMUM_QUERIES:
        raise InvalidInputError(
            "queries",
            f"{len(queries)} users are too few to choose by: {2 * MINIMUM_QUERIES} or more are needed",
        )
    sweep = _Sweep(item_ids, vectors, limits, seed)
    deciding, confirming = queries.half(0), queries.half(1)
    exact_index, exact_build_s = sweep.build(IndexSettings(kind=IndexKind.EXACT))
    builds = candidate_settings(len(item_ids), limits.candidate_count, kinds, seed)
    builds += [[settings] for settings in also]
    progress.start("item index: measuring", len(builds) + 1)
    truth = sweep.answers(exact_index, deciding)
    measurements = [sweep.measure(exact_index, exact_build_s, deciding, truth)]
    progress.advance(note=f"exact {measurements[0].median_ms:.2f} ms")
    for options in builds:
        measurements.extend(sweep.climb(options, deciding, truth))
        progress.advance(note=_note(measurements[-1]))
    confirming_truth = sweep.answers(exact_index, confirming)
    exact = sweep.measure(exact_index, exact_build_s, confirming, confirming_truth)
    for candidate in eligible(measurements, limits):
        chosen = exact
        if candidate.settings.kind is not IndexKind.EXACT:
            index, build_s = sweep.build(candidate.settings)
            chosen = sweep.measure(index, build_s, confirming, confirming_truth)
            if chosen.recall.low < limits.minimum_recall or chosen.median_ms >= exact.median_ms:
                continue
        progress.finish(note=_note(chosen))
        return TuningReport(len(item_ids), vectors.shape[1], limits, measurements, chosen, exact)
    progress.finish(note="nothing reaches the limits")
    return TuningReport(len(item_ids), vectors.shape[1], limits, measurements, exact, exact)


def eligible(measurements: Sequence[Measurement], limits: TuningLimits) -> list[Measurement]:
    """What reaches the limits, best first: the fastest, and of a tie exact search, then the smallest."""
    left = [measurement for measurement in measurements if measurement.reaches(limits)]
    ordered: list[Measurement] = []
    while left:
        fastest_ms = min(measurement.median_ms for measurement in left)
        tied = [measurement for measurement in left if measurement.median_ms <= _TIE * fastest_ms]
        best = min(tied, key=lambda m: (m.settings.kind is not IndexKind.EXACT, m.memory_bytes, m.median_ms))
        ordered.append(best)
        left.remove(best)
    return ordered


@dataclass
class _Sweep:
    """Builds and measures over one set of items; keeps the last index that it built."""

    item_ids: tuple[str, ...]
    vectors: NDArray[np.float32]
    limits: TuningLimits
    seed: int
    _last: tuple[ItemIndex, float] | None = None

    def build(self, settings: IndexSettings) -> tuple[ItemIndex, float]:
        """The index and the seconds that it took to build."""
        if self._last is not None and settings.builds_the_same_as(self._last[0].settings):
            return self._last[0].searched_with(settings), self._last[1]
        start_s = time.perf_counter()
        index = ItemIndex.build(self.item_ids, self.vectors, settings)
        self._last = index, time.perf_counter() - start_s
        return self._last

    def climb(
        self, options: Sequence[IndexSettings], queries: Queries, truth: Sequence[frozenset[int]]
    ) -> Iterator[Measurement]:
        """Measure until the recall is reached twice: what is more thorough still only takes longer.

        Twice, because the first may not hold on the users that confirm the choice.
        """
        reached = 0
        for settings in options:
            index, build_s = self.build(settings)
            measurement = self.measure(index, build_s, queries, truth)
            yield measurement
            reached += measurement.recall.low >= self.limits.minimum_recall
            if reached == _REACHED:
                break

    def answers(self, index: ItemIndex, queries: Queries) -> list[frozenset[int]]:
        """Rows found for each query."""
        return [
            frozenset(index.search_rows(vector, self.limits.candidate_count, excluded)[0].tolist())
            for vector, excluded in zip(queries.vectors, queries.excluded_rows, strict=True)
        ]

    def measure(
        self, index: ItemIndex, build_s: float, queries: Queries, truth: Sequence[frozenset[int]]
    ) -> Measurement:
        """Recall and time over the queries."""
        found = self.answers(index, queries)  # warms up, too
        recalls = np.array(
            [len(a & b) / len(b) if b else 1.0 for a, b in zip(found, truth, strict=True)], dtype=np.float64
        )
        elapsed_s = np.full((_ROUNDS, len(queries)), np.inf)
        for round_number in range(_ROUNDS):
            for query, excluded in enumerate(queries.excluded_rows):
                start_s = time.perf_counter()
                index.search_rows(queries.vectors[query], self.limits.candidate_count, excluded)
                elapsed_s[round_number, query] = time.perf_counter() - start_s
        median, p99 = np.percentile(elapsed_s.min(axis=0) * 1000.0, (50, 99))
        recall = bootstrap_mean(
            recalls, rng=np.random.default_rng(self.seed), confidence=self.limits.confidence
        )
        return Measurement(index.settings, recall, float(median), float(p99), index.memory_bytes(), build_s)


def _note(measurement: Measurement) -> str:
    return (
        f"{measurement.settings.kind} {measurement.median_ms:.2f} ms, recall {measurement.recall.value:.4f}"
    )
