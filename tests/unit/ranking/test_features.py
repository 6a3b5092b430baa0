from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from services.recommendations.contracts.candidates import Segment
from services.recommendations.ranking.candidate_features import FEATURES, CandidateTables
from services.recommendations.ranking.combination import (
    choices,
    fit_combination,
    held_out_counts,
    without_newest,
)
from services.recommendations.ranking.item_tables import (
    co_visitation,
    keep_largest,
    transition_probabilities,
    weighted_rows,
)
from services.recommendations.ranking.settings import CombinationSettings, FeatureSettings
from services.recommendations.training.input import TrainingInput
from streamrec.training.splits import UserHistories

SETTINGS = FeatureSettings(transition_window=3, neighbour_count=100)


def sequences(*lists: list[int]) -> UserHistories:
    lengths = [len(items) for items in lists]
    return UserHistories(
        user_ids=tuple(f"u{user}" for user in range(len(lists))),
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        items=np.array([item for items in lists for item in items], dtype=np.int32),
        timestamps=np.arange(sum(lengths), dtype=np.int64),
    )


@pytest.fixture(scope="module")
def tables(training: TrainingInput) -> CandidateTables:
    return CandidateTables.fit(training.split.train, training.split.catalogue, SETTINGS)


def column(values: np.ndarray, name: str) -> np.ndarray:
    return values[:, FEATURES.index(name)]


def test_transitions_equal_a_count_by_hand():
    data = sequences([0, 1, 2, 3, 4], [1, 0, 1], [4])
    expected = np.zeros((5, 5))
    for user in range(3):
        items = data.of(user)
        for first in range(len(items)):
            for later in range(first + 1, min(first + 4, len(items))):
                expected[items[first], items[later]] += 1 / np.sqrt(later - first)
    expected /= expected.sum(axis=1, keepdims=True) + 5.0
    np.testing.assert_allclose(transition_probabilities(data, 5, SETTINGS).toarray(), expected, rtol=1e-5)


def test_co_visitation_equals_a_shrunk_cosine_by_hand():
    data = sequences([0, 1, 2], [0, 1, 1], [3], [2, 0])
    visits = (data.matrix(4).toarray() > 0).astype(float)
    shared, counts = visits.T @ visits, visits.sum(axis=0)
    expected = shared / np.sqrt(np.outer(counts, counts)) * shared / (shared + 5.0)
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(co_visitation(data, 4, SETTINGS).toarray(), expected, rtol=1e-5)


def test_co_visitation_counts_the_newest_items_alone():
    data = sequences([0, 1, 2, 3])
    limited = co_visitation(data, 4, replace(SETTINGS, co_visitation_length=2)).toarray()
    assert limited[2, 3] > 0
    assert limited[:2].sum() == 0


def test_keep_largest_keeps_the_largest_of_each_row():
    matrix = sparse.csr_matrix(np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 5.0], [0.0, 0.0, 0.0]]))
    np.testing.assert_array_equal(keep_largest(matrix, 1).toarray(), [[3, 0, 0], [0, 5, 0], [0, 0, 0]])


def test_weighted_rows_equal_a_dense_product():
    rng = np.random.default_rng(0)
    dense = rng.random((6, 6)) * (rng.random((6, 6)) < 0.4)
    rows, weights = np.array([2, 2, 5, 0]), np.array([0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(
        weighted_rows(sparse.csr_matrix(dense), rows, weights), weights @ dense[rows], atol=1e-12
    )


def test_features_are_finite_for_every_kind_of_history(tables: CandidateTables):
    every = np.arange(60, dtype=np.int64)
    for history in ([], [0], [7, 7, 7], list(range(60)) * 100):
        values = tables.features(np.array(history, dtype=np.int64), Segment(), every)
        assert values.shape == (60, len(FEATURES))
        assert np.isfinite(values).all()


def test_without_history_only_popularity_and_age_speak(tables: CandidateTables):
    values = tables.features(np.empty(0, dtype=np.int64), Segment(), np.arange(60))
    silent = [FEATURES.index(name) for name in FEATURES if name not in ("log_popularity", "log_age")]
    assert (values[:, silent] == 0).all()


def test_the_next_item_on_the_path_has_the_highest_transition(tables: CandidateTables):
    values = tables.features(np.array([20, 21], dtype=np.int64), Segment(), np.arange(60))
    assert column(values, "transition_from_last").argmax() == 22


def test_content_features_say_what_is_shared(tables: CandidateTables):
    values = tables.features(np.array([1, 2], dtype=np.int64), Segment(language="hi"), np.arange(60))
    assert column(values, "topic_affinity")[3] > column(values, "topic_affinity")[30] == 0.0  # no topics
    assert column(values, "creator_affinity")[5] > 0 == column(values, "creator_affinity")[7]
    assert column(values, "language_affinity")[4] > 0 == column(values, "language_affinity")[3]
    assert column(values, "segment_language_match")[[0, 1, 2]].tolist() == [0.0, 1.0, 0.0]
    assert column(values, "published_after_history")[7] == 0.0  # no date


def test_features_do_not_depend_on_the_other_candidates(tables: CandidateTables):
    history = np.array([3, 9, 30], dtype=np.int64)
    together = tables.features(history, Segment(), np.arange(60))
    for item in (0, 7, 31, 59):
        alone = tables.features(history, Segment(), np.array([item]))
        np.testing.assert_array_equal(alone[0], together[item])


def test_held_out_items_are_the_newest_and_leave_something():
    settings = CombinationSettings(held_out_per_user=3, held_out_share=0.1)
    lengths = np.array([0, 1, 2, 19, 20, 25, 1000])
    assert held_out_counts(lengths, settings).tolist() == [0, 0, 1, 1, 2, 2, 3]
    data = sequences([0, 1, 2, 3], [4], [5, 6])
    rest = without_newest(data, np.array([2, 0, 1]))
    assert [rest.of(user).tolist() for user in range(3)] == [[0, 1], [4], [5]]


def test_choices_tell_the_held_out_item_from_the_hardest_and_a_sample_of_the_rest():
    data = sequences([0, 1, 2, 3], [4], [5, 6], [7, 8, 7])
    settings = CombinationSettings(negative_count=4)
    strengths = np.arange(10, dtype=np.float32)
    made = list(
        choices(data, np.array([2, 0, 1, 1]), lambda *_: strengths, settings, np.random.default_rng(0))
    )
    # The last user's newest item is one seen before: nothing to learn from.
    assert [(choice.user, choice.history.tolist(), int(choice.candidates[0])) for choice in made] == [
        (0, [0, 1, 2], 3),
        (0, [0, 1], 2),
        (2, [5], 6),
    ]
    for choice in made:
        unseen = set(range(10)) - set(data.of(choice.user).tolist())
        assert len(set(choice.candidates.tolist())) == 5
        assert set(choice.candidates[1:].tolist()) <= unseen
        assert set(choice.candidates[1:3].tolist()) == {8, 9}
        # Every unseen item is stood for exactly once.
        assert np.exp(choice.log_counts[1:]).sum() == pytest.approx(len(unseen))
        assert choice.log_counts[0] == 0.0


def test_a_small_catalogue_is_taken_whole():
    data = sequences([0, 1])
    strengths = np.zeros(5, dtype=np.float32)
    made = list(
        choices(data, np.array([1]), lambda *_: strengths, CombinationSettings(), np.random.default_rng(0))
    )
    assert sorted(made[0].candidates.tolist()) == [1, 2, 3, 4]
    assert (made[0].log_counts == 0.0).all()


def test_the_fit_recovers_the_weights_that_made_the_choices():
    rng = np.random.default_rng(4)
    true = np.array([0.7, -1.5, 0.0, 2.0])
    inputs = rng.normal(size=(6000, 12, 4)).astype(np.float32)
    inputs[:, :, 1] *= 3.0
    utility = inputs @ true + rng.gumbel(size=(6000, 12))
    chosen = utility.argmax(axis=1)
    for example, winner in enumerate(chosen):
        inputs[example, [0, winner]] = inputs[example, [winner, 0]]
    fitted = fit_combination(inputs, np.zeros((6000, 12), dtype=np.float32), np.full(6000, 12), l2=1e-6)
    np.testing.assert_allclose(fitted.weights, true, atol=0.08)


def test_filling_and_constant_features_do_not_count():
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(300, 6, 3)).astype(np.float32)
    inputs[:, :, 2] = 7.0
    sizes = np.full(300, 4)
    log_counts = np.zeros((300, 6), dtype=np.float32)
    clean = fit_combination(inputs[:, :4].copy(), log_counts[:, :4], sizes, l2=1e-3)
    inputs[:, 4:] = 1e6
    filled = fit_combination(inputs, log_counts, sizes, l2=1e-3)
    np.testing.assert_allclose(filled.weights, clean.weights, atol=1e-3)
    assert filled.weights[2] == 0.0


def test_an_item_that_stands_for_many_counts_as_many():
    rng = np.random.default_rng(6)
    inputs = rng.normal(size=(400, 3, 4)).astype(np.float32)
    repeated = np.concatenate((inputs[:, :2], np.repeat(inputs[:, 2:], 5, axis=1)), axis=1)
    log_counts = np.zeros((400, 3), dtype=np.float32)
    log_counts[:, 2] = np.log(5.0)
    # Both see the same spread, so that the pull towards the network is the same for both.
    once = fit_combination(inputs, log_counts, np.full(400, 3), l2=1e-9)
    each = fit_combination(repeated, np.zeros((400, 7), dtype=np.float32), np.full(400, 7), l2=1e-9)
    np.testing.assert_allclose(once.weights, each.weights, atol=1e-3)


def test_nothing_to_fit_on_leaves_the_network_alone():
    nothing = np.zeros((0, 5), dtype=np.float32)
    fitted = fit_combination(
        np.zeros((0, 5, 4), dtype=np.float32), nothing, np.empty(0, dtype=np.int64), l2=1e-3
    )
    assert fitted.weights.tolist() == [0.5, 0.5, 0.0, 0.0]


def test_the_more_users_there_are_the_fewer_items_of_each_are_held_out():
    lengths = np.full(100, 50)
    of_each = [
        held_out_counts(lengths, CombinationSettings(maximum_examples=most)).max() for most in (50, 200, 900)
    ]
    assert of_each == [1, 2, 3]
