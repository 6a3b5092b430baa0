from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from services.recommendations.ranking.batches import draw_windows, steps
from services.recommendations.ranking.content import ContentTable
from services.recommendations.ranking.network import PADDING, SequenceNetwork
from services.recommendations.ranking.optimisation import sampled_softmax_loss
from services.recommendations.ranking.settings import NetworkSettings
from streamrec.training.splits import Sequences


def sequences(*lists: list[int]) -> Sequences:
    lengths = [len(items) for items in lists]
    return Sequences(
        user_ids=tuple(f"u{user}" for user in range(len(lists))),
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        items=np.array([item for items in lists for item in items], dtype=np.int32),
        timestamps=np.zeros(sum(lengths), dtype=np.int64),
    )


def network(item_count: int = 20) -> SequenceNetwork:
    content = ContentTable(
        np.zeros((item_count, 1), dtype=np.int64), np.zeros((item_count, 1), dtype=np.float32), 1
    )
    torch.manual_seed(0)
    settings = NetworkSettings(dimension=8, history_length=6, dropout=0.0)
    return SequenceNetwork(content, np.ones(item_count, dtype=np.int64), settings).eval()


def test_every_item_but_the_first_is_a_target_exactly_once():
    data = sequences(list(range(25)), [3], [], [30, 31], list(range(40, 47)))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        targets = [
            target[target != PADDING]
            for _, target in steps(data, draw_windows(data, 5, rng), batch_interactions=7, rng=rng)
        ]
        assert sorted(np.concatenate(targets).tolist()) == [*range(1, 25), 31, *range(41, 47)]


def test_each_target_follows_its_input():
    data = sequences(list(range(25)), list(range(40, 47)))
    rng = np.random.default_rng(1)
    for inputs, targets in steps(data, draw_windows(data, 5, rng), batch_interactions=7, rng=rng):
        assert inputs.shape == targets.shape
        assert inputs.shape[1] <= 5
        real = targets != PADDING
        assert (targets[real] == inputs[real] + 1).all()
        assert ((inputs == PADDING) == ~real).all()


def test_all_items_as_negatives_make_the_full_softmax():
    torch.manual_seed(2)
    states, vectors, biases = torch.randn(9, 4), torch.randn(12, 4), torch.randn(12)
    targets = torch.randint(12, (9,))
    full = functional.cross_entropy(states @ vectors.T + biases, targets)
    # With all 12 items drawn, each row keeps 11 negatives for 11 others: only the correction differs.
    sampled = sampled_softmax_loss(states, targets, vectors, biases - 0.0, torch.arange(12))
    shift = torch.log(torch.tensor(11 / 12))
    logits = states @ vectors.T + biases
    rows = torch.arange(9)
    expected_logits = logits + shift
    expected_logits[rows, targets] = logits[rows, targets]
    expected = functional.cross_entropy(expected_logits, targets)
    torch.testing.assert_close(sampled, expected)
    assert abs(float(sampled - full)) < 0.1


def test_the_sampled_normaliser_is_unbiased():
    torch.manual_seed(3)
    states, vectors, biases = torch.randn(1, 4) * 0.3, torch.randn(200, 4) * 0.3, torch.randn(200) * 0.3
    target = torch.tensor([5])
    positive = (states @ vectors[5])[0] + biases[5]
    rng = np.random.default_rng(0)
    others = np.array([item for item in range(200) if item != 5])
    normalisers = []
    for _ in range(400):
        drawn = torch.from_numpy(np.sort(rng.choice(others, 40, replace=False)))
        loss = sampled_softmax_loss(states, target, vectors, biases, drawn)
        normalisers.append(float(torch.exp(loss + positive)))
    true = float(torch.exp(states @ vectors.T + biases).sum())
    assert abs(np.mean(normalisers) / true - 1.0) < 0.02


def test_a_state_sees_nothing_that_comes_after():
    net = network()
    with torch.inference_mode():
        vectors = net.item_vectors()
        short = net.hidden_states(torch.tensor([[1, 2, 3]]), vectors)
        padded = net.hidden_states(torch.tensor([[1, 2, 3, PADDING, PADDING]]), vectors)
        longer = net.hidden_states(torch.tensor([[1, 2, 3, 9, 8]]), vectors)
    torch.testing.assert_close(short, padded[:, :3])
    torch.testing.assert_close(short, longer[:, :3])


def test_an_item_without_train_interactions_has_content_alone():
    content = ContentTable(np.array([[1], [1]]), np.ones((2, 1), dtype=np.float32), 2)
    net = SequenceNetwork(content, np.array([4, 0]), NetworkSettings(dimension=8)).eval()
    with torch.inference_mode():
        vectors = net.item_vectors()
        torch.testing.assert_close(vectors[1], net.content[1])
        assert not torch.allclose(vectors[0], net.content[1])
