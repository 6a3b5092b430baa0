from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.recommendations.item_index.index import MINIMUM_POINTS_PER_LIST, ItemIndex
from services.recommendations.item_index.settings import IndexKind, IndexSettings
from services.recommendations.item_index.tuning import Queries, candidate_settings, eligible, tune
from services.recommendations.item_index.tuning_report import Measurement, TuningLimits
from services.recommendations.jobs.index_tuning import replicated
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.intervals import Interval, IntervalMethod
from streamrec.contracts.progress import SilentProgress

LIMITS = TuningLimits(candidate_count=20)


def measured(kind: IndexKind, low: float, median_ms: float, memory_bytes: int = 10) -> Measurement:
    recall = Interval(min(low + 0.001, 1.0), low, 1.0, 0.95, IntervalMethod.PERCENTILE_BOOTSTRAP, 50)
    return Measurement(IndexSettings(kind=kind), recall, median_ms, 9.0, memory_bytes, 1.0)


def test_the_fastest_that_surely_finds_enough_is_chosen():
    exact = measured(IndexKind.EXACT, 1.0, 3.0)
    doubtful = measured(IndexKind.IVF_SQ8, 0.9899, 0.1)  # its mean is above .99, its lower bound is not
    heavy = measured(IndexKind.HNSW, 0.995, 0.2, memory_bytes=LIMITS.maximum_memory_bytes + 1)
    good, slower = measured(IndexKind.IVF_FLAT, 0.99, 0.5), measured(IndexKind.IVF_SQ8, 0.999, 0.8)
    assert eligible([exact, doubtful, heavy, slower, good], LIMITS) == [good, slower, exact]


def test_a_tie_goes_to_exact_search_and_then_to_the_smaller():
    exact, lists = measured(IndexKind.EXACT, 1.0, 0.105), measured(IndexKind.IVF_FLAT, 0.995, 0.1)
    assert eligible([lists, exact], LIMITS)[0] is exact
    small = measured(IndexKind.IVF_SQ8, 0.995, 0.109, memory_bytes=5)
    assert eligible([lists, small], LIMITS)[0] is small
    assert eligible([lists, replace(small, median_ms=0.12)], LIMITS)[0] is lists


@pytest.mark.parametrize("item_count", [1, 50, 3000, 200_000])
def test_what_is_tried_can_be_built_and_grows_more_thorough(item_count):
    builds = candidate_settings(item_count, 500, tuple(IndexKind), seed=3)
    for options in builds:
        assert all(option.builds_the_same_as(options[0]) for option in options)
        effort = [(option.probe_count, option.search_depth, option.rescored_share) for option in options]
        assert effort == sorted(effort)
        assert len(set(effort)) == len(effort)
        if options[0].kind is not IndexKind.HNSW:
            assert 1 <= options[0].list_count <= max(1, item_count // MINIMUM_POINTS_PER_LIST)
            assert all(option.probe_count < option.list_count for option in options)
    assert IndexKind.EXACT not in {options[0].kind for options in builds}


def clusters(count: int, rng: np.random.Generator) -> np.ndarray:
    centres = rng.normal(size=(30, 12))
    return (centres[rng.integers(30, size=count)] + 0.5 * rng.normal(size=(count, 12))).astype(np.float32)


def queries_near(vectors: np.ndarray, count: int, rng: np.random.Generator) -> Queries:
    rows = rng.integers(len(vectors), size=count)
    return Queries(
        vectors[rows] + 0.1 * rng.normal(size=(count, 12)).astype(np.float32),
        [np.array([row], dtype=np.int64) for row in rows],
    )


def test_a_sweep_measures_what_was_really_found():
    rng = np.random.default_rng(4)
    vectors = clusters(4000, rng)
    ids = tuple(f"i{row}" for row in range(4000))
    queries = queries_near(vectors, 80, rng)
    in_use = IndexSettings(exact_limit=0, list_count=3, probe_count=2)
    report = tune(
        ids,
        vectors,
        queries,
        LIMITS,
        kinds=(IndexKind.IVF_FLAT, IndexKind.IVF_SQ8),
        also=[in_use],
        progress=SilentProgress(),
    )
    assert report.exact.settings.kind is IndexKind.EXACT
    assert report.exact.recall.value == 1.0
    assert report.measurements[-1].settings == in_use
    exact = ItemIndex.build(ids, vectors, IndexSettings(kind=IndexKind.EXACT))
    for measurement in report.measurements[1:]:
        index = ItemIndex.build(ids, vectors, measurement.settings)
        assert not index.exact
        half = queries.half(0)
        shares = []
        for vector, excluded in zip(half.vectors, half.excluded_rows, strict=True):
            true = set(exact.search_rows(vector, 20, excluded)[0].tolist())
            shares.append(len(true & set(index.search_rows(vector, 20, excluded)[0].tolist())) / 20)
        assert measurement.recall.value == pytest.approx(np.mean(shares))
        assert measurement.recall.n == 40
        assert 0.0 < measurement.median_ms <= measurement.p99_ms
        assert measurement.memory_bytes > vectors.nbytes
    recalls = {m.settings.kind for m in report.measurements if m.recall.low >= LIMITS.minimum_recall}
    assert recalls >= {IndexKind.EXACT, IndexKind.IVF_FLAT}  # it climbed until it was reached
    assert report.chosen.recall.low >= LIMITS.minimum_recall
    document = report.choice()
    assert document.item_count == 4000
    assert document.settings.exact_limit >= 2000
    assert report.to_json()["chosen"]["kind"] == report.chosen.settings.kind.value


def test_a_choice_is_exact_where_nothing_was_measured():
    rng = np.random.default_rng(4)
    vectors = clusters(300, rng)
    report = tune(
        tuple(map(str, range(300))),
        vectors,
        queries_near(vectors, 40, rng),
        LIMITS,
        kinds=(),
        progress=SilentProgress(),
    )
    assert report.chosen is report.chosen_exact
    assert report.reaches_limits
    assert report.choice().settings == IndexSettings()  # the default is exact here, and beyond
    approximate = replace(report, item_count=90_000, chosen=measured(IndexKind.IVF_FLAT, 0.995, 0.1))
    assert approximate.choice().settings == IndexSettings(kind=IndexKind.IVF_FLAT, exact_limit=45_000)
    assert replace(report, item_count=90_000).choice().settings == IndexSettings(exact_limit=90_000)


def test_too_few_users_are_refused_and_too_little_memory_fails():
    rng = np.random.default_rng(4)
    vectors = clusters(100, rng)
    ids = tuple(map(str, range(100)))
    with pytest.raises(InvalidInputError, match="39 users"):
        tune(ids, vectors, queries_near(vectors, 39, rng), LIMITS, progress=SilentProgress())
    report = tune(
        ids,
        vectors,
        queries_near(vectors, 40, rng),
        replace(LIMITS, maximum_memory_bytes=10),
        kinds=(),
        progress=SilentProgress(),
    )
    assert not report.reaches_limits
    assert report.chosen.settings.kind is IndexKind.EXACT
    with pytest.raises(InvalidInputError, match="minimum_recall"):
        TuningLimits(minimum_recall=1.0)


def test_copies_lie_as_far_as_neighbours_do():
    rng = np.random.default_rng(0)
    vectors = clusters(400, rng)
    index = ItemIndex.build(tuple(f"i{row}" for row in range(400)), vectors)
    ids, grown = replicated(index, 1000, np.random.default_rng(1))
    assert len(set(ids)) == len(ids) == len(grown) == 1000
    assert ids[:400] == index.item_ids
    np.testing.assert_array_equal(grown[:400], index.vectors)
    np.testing.assert_allclose(np.linalg.norm(grown, axis=1), 1.0, rtol=1e-5)
    originals = np.arange(400, 1000) % 400
    to_original = np.linalg.norm(grown[400:] - index.vectors[originals], axis=1)
    similarities = index.vectors @ index.vectors.T
    np.fill_diagonal(similarities, -1.0)
    neighbours = np.sqrt(2 - 2 * similarities.max(axis=1))
    assert np.median(to_original) == pytest.approx(np.median(neighbours), rel=0.15)
    np.testing.assert_array_equal(replicated(index, 400, rng)[1], index.vectors)
    for count in (399, 10_000_000):
        with pytest.raises(InvalidInputError, match="item_count"):
            replicated(index, count, rng)
