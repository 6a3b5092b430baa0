"""The encoder that learns and the encoder that serves are the same function."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.recommendations.ranking.student.export import serving_weights
from services.recommendations.ranking.student.network import PADDING, StudentNetwork, principal_directions
from services.recommendations.ranking.student.runtime import StudentScorer
from services.recommendations.ranking.student.settings import StudentNetworkSettings

ITEMS = 50
SETTINGS = StudentNetworkSettings(
    dimension=8, head_count=2, history_length=12, pool_count=2, newest_count=3, hidden_size=16
)


@pytest.fixture(scope="module")
def network() -> StudentNetwork:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    network = StudentNetwork(
        SETTINGS,
        rng.normal(size=(ITEMS, 10)).astype(np.float32),
        rng.normal(size=ITEMS).astype(np.float32),
        (3, 2),
    )
    with torch.no_grad():
        # Away from the first values, some of which are zero.
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return network.eval()


@pytest.fixture(scope="module")
def scorer(network: StudentNetwork) -> StudentScorer:
    return StudentScorer(SETTINGS, serving_weights(network))


def encoded(network: StudentNetwork, items: np.ndarray, lengths: list[int], segments: list[int]):
    with torch.inference_mode():
        states = network(torch.from_numpy(items)[None], torch.tensor([lengths]), torch.tensor([segments]))
    return states[0].numpy()


@pytest.mark.parametrize("segments", [[0, 0], [2, 0], [3, 1]])
def test_batched_training_encoder_equals_the_served_single_user_encoder(network, scorer, segments):
    history = np.random.default_rng(1).integers(ITEMS, size=12)
    lengths = [0, 1, 2, 3, 7, 12]
    trained = encoded(network, history, lengths, segments)
    for length, expected in zip(lengths, trained, strict=True):
        served = scorer.user_vector(history[:length], np.array(segments))
        np.testing.assert_allclose(served, expected, atol=1e-5)
        every = np.arange(ITEMS)
        scores = expected @ network.outputs.detach().numpy().T + network.biases.detach().numpy()
        np.testing.assert_allclose(
            scorer.scores(history[:length], np.array(segments), every), scores, atol=1e-4
        )


def test_padding_and_what_follows_a_prefix_change_nothing(network):
    rng = np.random.default_rng(2)
    history = rng.integers(ITEMS, size=6)
    plain = encoded(network, history, [0, 4], [0, 0])
    padded = encoded(network, np.concatenate((history, np.full(5, PADDING))), [0, 4], [0, 0])
    other = encoded(network, np.concatenate((history[:4], rng.integers(ITEMS, size=8))), [0, 4], [0, 0])
    np.testing.assert_allclose(padded, plain, atol=1e-6)
    np.testing.assert_allclose(other, plain, atol=1e-6)


def test_an_empty_window_is_encoded(network, scorer):
    alone = encoded(network, np.empty(0, dtype=np.int64), [0, 0], [1, 1])
    np.testing.assert_allclose(
        alone[0], scorer.user_vector(np.empty(0, np.int64), np.array([1, 1])), atol=1e-6
    )


def test_few_candidates_and_many_get_the_same_scores(scorer):
    history, nobody = np.array([3, 4, 5]), np.array([0, 0])
    every = scorer.scores(history, nobody, np.arange(ITEMS))
    few = scorer.scores(history, nobody, np.array([7, 40]))
    np.testing.assert_allclose(few, every[[7, 40]], atol=1e-5)


def test_of_a_long_history_the_newest_items_count(scorer):
    history, nobody = np.random.default_rng(3).integers(ITEMS, size=40), np.array([0, 0])
    np.testing.assert_array_equal(
        scorer.user_vector(history, nobody), scorer.user_vector(history[-12:], nobody)
    )


def test_every_item_of_the_history_and_its_place_count(scorer):
    nobody = np.array([0, 0])
    history = np.array([1, 2, 3, 4, 5, 6, 7, 8])
    vector = scorer.user_vector(history, nobody)
    for place in range(history.size):
        other = history.copy()
        other[place] = 30
        assert np.abs(scorer.user_vector(other, nobody) - vector).max() > 1e-3, place
    swapped = history.copy()
    swapped[[1, 3]] = swapped[[3, 1]]
    assert np.abs(scorer.user_vector(swapped, nobody) - vector).max() > 1e-3


@pytest.mark.parametrize("dimension", [4, 8, 12])
def test_the_history_starts_from_what_fits_of_the_teachers_vectors(dimension):
    vectors = np.random.default_rng(4).normal(size=(ITEMS, 8)).astype(np.float32)
    directions = principal_directions(vectors, dimension)
    assert directions.shape == (8, dimension)
    assert directions.dtype == np.float32
    first = vectors @ directions
    if dimension >= 8:
        np.testing.assert_array_equal(first[:, :8], vectors)
        assert not first[:, 8:].any()
    else:
        # The principal directions: no other four keep more of the length.
        kept = (first**2).sum() / (vectors**2).sum()
        spectrum = np.linalg.svd(vectors, compute_uv=False) ** 2
        assert kept == pytest.approx(spectrum[:4].sum() / spectrum.sum(), abs=1e-5)


def test_fewer_items_than_dimensions_leave_the_other_directions_empty():
    vectors = np.random.default_rng(4).normal(size=(3, 8)).astype(np.float32)
    directions = principal_directions(vectors, 6)
    np.testing.assert_allclose(vectors @ directions @ directions.T, vectors, atol=1e-5)
    assert not directions[:, 3:].any()


def test_the_candidates_vectors_and_biases_are_not_learned(network):
    learned = {name for name, _ in network.named_parameters()}
    assert "inputs" in learned
    assert not learned & {"outputs", "biases"}
