"""The features that the student computes itself: the teacher's own, but for the documented truncation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.ranking.candidate_features import FEATURES, CandidateTables
from services.recommendations.ranking.item_tables import weighted_rows
from services.recommendations.ranking.segments import SegmentTable
from services.recommendations.ranking.settings import FeatureSettings
from services.recommendations.ranking.student import feature_arrays
from services.recommendations.ranking.student.export import serving_weights
from services.recommendations.ranking.student.features import (
    FeatureScorer,
    FeatureTables,
    SparseRows,
    static_scores,
)
from services.recommendations.ranking.student.model import StudentRanker
from services.recommendations.ranking.student.network import StudentNetwork
from services.recommendations.ranking.student.settings import StudentNetworkSettings
from services.recommendations.training.input import TrainingInput
from streamrec.contracts.conventions import HISTORY_LIMIT

STATIC = ("log_popularity", "log_age")
PERSONAL = tuple(name for name in FEATURES if name not in STATIC)
TABLE_FEATURES = ("transition_from_last", "transition_from_recent", "co_visitation", "co_visitation_recent")
HISTORIES = ([], [7], [0, 1, 2], [7, 14, 21], [5, 5, 5, 9], list(range(30, 10, -1)), list(range(45)))
SEGMENTS = (Segment(), Segment(language="hi"), Segment(language="never heard"))


@pytest.fixture(scope="module")
def tables(training: TrainingInput) -> CandidateTables:
    settings = FeatureSettings(history_length=20, transition_window=3, neighbour_count=20)
    return CandidateTables.fit(training.split.train, training.split.catalogue, settings)


def every(tables: CandidateTables) -> np.ndarray:
    return np.arange(len(tables.popularity))


def scorer(tables: CandidateTables, weights: dict[str, float], table_length: int = 20) -> FeatureScorer:
    return FeatureScorer(FeatureTables.of(tables, weights), table_length)


@pytest.mark.parametrize("name", PERSONAL)
@pytest.mark.parametrize("history", HISTORIES, ids=len)
@pytest.mark.parametrize("segment", SEGMENTS, ids=lambda segment: segment.language)
def test_each_feature_is_the_teachers(tables, name, history, segment):
    rows = np.array(history, dtype=np.int64)
    expected = 1.7 * tables.features(rows, segment, every(tables))[:, FEATURES.index(name)]
    given = scorer(tables, {name: 1.7}).scores(rows, segment, every(tables))
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", PERSONAL)
def test_the_comparison_sees_every_feature_vary(tables, name):
    column = FEATURES.index(name)
    values = [
        tables.features(np.array(history, dtype=np.int64), Segment(language="hi"), every(tables))[:, column]
        for history in HISTORIES
    ]
    assert np.std(values) > 1e-3


def test_static_features_are_the_teachers_around_zero(tables):
    expected = tables.features(np.array([3, 4]), Segment(), every(tables))
    expected = 0.4 * expected[:, 0] - 0.3 * expected[:, 12]
    given = static_scores(tables, {"log_popularity": 0.4, "log_age": -0.3, "creator_affinity": 9.0})
    np.testing.assert_allclose(given, expected - expected.mean(), atol=1e-5)
    assert scorer(tables, {"log_popularity": 0.4}).scores(np.array([1]), Segment(), every(tables)).any() == 0


@pytest.mark.parametrize("name", TABLE_FEATURES)
def test_item_tables_are_read_for_the_newest_items_as_if_the_history_began_there(tables, name):
    history = np.arange(18, dtype=np.int64)
    cut = tables.features(history[-5:], Segment(), every(tables))[:, FEATURES.index(name)]
    whole = tables.features(history, Segment(), every(tables))[:, FEATURES.index(name)]
    given = scorer(tables, {name: 1.0}, table_length=5).scores(history, Segment(), every(tables))
    np.testing.assert_allclose(given, cut, rtol=1e-4, atol=2e-5)
    assert not np.allclose(given, whole, rtol=1e-4, atol=2e-5)


def test_what_is_not_in_the_tables_length_is_still_counted_by_content(tables):
    history = np.array([0, 1, 2, 40, 41, 42, 43, 44])
    short = scorer(tables, {"creator_affinity": 1.0}, table_length=2)
    assert short.scores(history, Segment(), np.array([3]))[0] == pytest.approx(np.log1p(3.0))


def test_a_candidates_score_does_not_depend_on_the_others(tables):
    whole = scorer(tables, dict.fromkeys(PERSONAL, 0.5))
    history = np.array([3, 4, 5, 20])
    all_scores = whole.scores(history, Segment(language="en"), every(tables))
    some = np.array([50, 6, 6, 0])
    np.testing.assert_array_equal(whole.scores(history, Segment(language="en"), some), all_scores[some])
    assert whole.scores(history, Segment(), some[:0]).shape == (0,)


def test_without_weights_nothing_is_kept_and_nothing_is_added(tables):
    empty = FeatureTables.of(tables, {"transition_from_last": 0.0, "log_age": 1.0})
    assert not empty.weights
    assert empty.transitions.values.size == empty.co_visitation.values.size == 0
    assert FeatureScorer(empty, 5).scores(np.array([1, 2]), Segment(), every(tables)).tolist() == [0.0] * 60


def test_gathered_rows_are_those_of_the_matrix(tables):
    rows = np.array([4, 59, 4, 0])
    columns, values, lengths = SparseRows.of(tables.transitions).gather(rows)
    weights = np.array([0.5, 0.2, 0.1, 0.7])
    sums = np.bincount(columns, values * weights.repeat(lengths), minlength=60)
    np.testing.assert_allclose(sums, weighted_rows(tables.transitions, rows, weights), atol=1e-6)


def test_with_a_silent_network_the_order_is_that_of_the_teachers_features(tables, training: TrainingInput):
    weights = {name: (-1.0) ** place * 0.3 for place, name in enumerate(FEATURES)}
    settings = StudentNetworkSettings(dimension=8, head_count=2, history_length=10, hidden_size=4)
    nobody = SegmentTable(((), (), (), ()))
    network = StudentNetwork(
        settings, np.zeros((60, 8), dtype=np.float32), static_scores(tables, weights), nobody.sizes
    )
    with torch.no_grad():
        network.outputs.zero_()
    student = StudentRanker(
        training.split.catalogue.item_ids,
        settings,
        serving_weights(network),
        nobody,
        FeatureTables.of(tables, weights),
    )
    history = ("i03", "i04", "i30", "i31")
    given = Candidates(student.item_ids, np.zeros(60, dtype=np.float32))
    ranked = student.rank(UserState("u", history=history, segment=Segment(language="hi")), given)
    rows = np.array([student.item_ids.index(item) for item in history])
    teachers = tables.features(rows, Segment(language="hi"), np.arange(60)) @ np.array(list(weights.values()))
    order = [student.item_ids[row] for row in np.argsort(-teachers, kind="stable")]
    assert list(ranked.item_ids) == order


def test_what_is_taken_apart_is_put_together_again(tables):
    whole = FeatureTables.of(tables, dict.fromkeys(PERSONAL, 0.5))
    arrays, document = feature_arrays.to_arrays(whole), feature_arrays.to_document(whole)
    again = feature_arrays.of(document, arrays, 60)
    history = np.arange(10)
    np.testing.assert_array_equal(
        FeatureScorer(again, 9).scores(history, SEGMENTS[1], every(tables)),
        FeatureScorer(whole, 9).scores(history, SEGMENTS[1], every(tables)),
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("popularity", 0.0, "popularity"),
        ("popularity", np.inf, "popularity"),
        ("creators", 60, "creators"),
        ("creators", -2, "creators"),
        ("languages", 2, "languages"),
        ("transitions.columns", 60, "transitions.columns"),
        ("co_visitation.columns", -1, "co_visitation.columns"),
        ("topics.columns", 99, "topics.columns"),
        ("transitions.values", -0.5, "transitions.values"),
        ("co_visitation.values", np.nan, "co_visitation.values"),
        ("topics.starts", 5, "topics.starts"),
    ],
)
def test_tables_that_would_give_wrong_scores_are_refused(tables, name, value, message):
    whole = FeatureTables.of(tables, dict.fromkeys(PERSONAL, 0.5))
    arrays = {key: array.copy() for key, array in feature_arrays.to_arrays(whole).items()}
    arrays[f"features.{name}"][0] = value
    with pytest.raises(ValueError, match=message):
        feature_arrays.of(feature_arrays.to_document(whole), arrays, 60)


@pytest.mark.parametrize(
    "change",
    [
        {"weights": {"transition_from_last": float("nan")}},
        {"weights": {"no such feature": 1.0}},
        {"history_length": 0},
        {"history_length": HISTORY_LIMIT + 1},
        {"topic_count": -1},
    ],
)
def test_a_description_that_would_give_wrong_scores_is_refused(tables, change):
    whole = FeatureTables.of(tables, dict.fromkeys(PERSONAL, 0.5))
    with pytest.raises(ValueError, match="feature"):
        feature_arrays.of(
            {**feature_arrays.to_document(whole), **change}, feature_arrays.to_arrays(whole), 60
        )


def test_histories_longer_than_requests_hold_need_no_more_memory(tables):
    longer = replace(tables, history_length=10 * HISTORY_LIMIT)
    assert FeatureTables.of(longer, {"creator_affinity": 1.0}).history_length == HISTORY_LIMIT
