from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from services.recommendations.contracts.candidates import Segment
from services.recommendations.ranking.batches import draw_examples, draw_windows, steps
from services.recommendations.ranking.content import ContentTable
from services.recommendations.ranking.negatives import NegativeSampler, first_positions, sampled_softmax_loss
from services.recommendations.ranking.network import PADDING, RecencyPools, SequenceNetwork
from services.recommendations.ranking.optimisation import NetworkTraining
from services.recommendations.ranking.segments import SegmentTable
from services.recommendations.ranking.settings import NetworkSettings, OptimisationSettings
from streamrec.contracts.progress import SilentProgress
from streamrec.training.splits import UserHistories


def sequences(*lists: list[int]) -> UserHistories:
    lengths = [len(items) for items in lists]
    return UserHistories(
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
    return SequenceNetwork(content, np.ones(item_count, dtype=np.int64), (3, 3), settings).eval()


def test_every_item_but_the_first_is_a_target_exactly_once():
    data = sequences(list(range(25)), [3], [], [30, 31], list(range(40, 47)))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        targets = [
            target[target != PADDING]
            for _, _, target in steps(data, draw_windows(data, 5, rng), batch_interactions=7, rng=rng)
        ]
        assert sorted(np.concatenate(targets).tolist()) == [*range(1, 25), 31, *range(41, 47)]


def test_each_target_follows_its_input():
    data = sequences(list(range(25)), list(range(40, 47)))
    rng = np.random.default_rng(1)
    windows = draw_windows(data, 5, rng)
    for chosen, inputs, targets in steps(data, windows, batch_interactions=7, rng=rng):
        assert inputs.shape == targets.shape
        assert inputs.shape[1] <= 5
        real = targets != PADDING
        assert (targets[real] == inputs[real] + 1).all()
        assert ((inputs == PADDING) == ~real).all()
        assert (windows.users[chosen] == (inputs[:, 0] >= 40)).all()
        assert (data.items[windows.starts[chosen]] == inputs[:, 0]).all()


def test_every_item_is_an_example_once_with_what_came_before_it():
    data = sequences([0, 1, 2, 3, 4], [7], [5, 6])
    seen = []
    for places, history, items in draw_examples(data, 3, 4, np.random.default_rng(2)):
        lengths = (history != PADDING).sum(axis=1)
        assert (np.diff(lengths) >= 0).all()
        assert (data.items[places] == items).all()
        for user, before, item in zip(data.users[places], history, items, strict=True):
            sequence = data.of(int(user)).tolist()
            expected = sequence[: sequence.index(item)][::-1][:3]
            assert before.tolist() == expected + [PADDING] * (3 - len(expected))
            seen.append(int(item))
    assert sorted(seen) == list(range(8))


def test_every_item_once_as_negative_makes_the_full_softmax():
    torch.manual_seed(2)
    users, vectors = torch.randn(9, 4), torch.randn(12, 4)
    targets = torch.randint(12, (9,))
    own = torch.arange(12)[None, :] == targets[:, None]
    sampled = sampled_softmax_loss(users, vectors[targets], vectors, torch.zeros(12), own, 0.5)
    torch.testing.assert_close(sampled, functional.cross_entropy(users @ vectors.T / 0.5, targets))


def test_the_normaliser_is_unbiased_however_popular_the_negatives():
    torch.manual_seed(3)
    item_count, target = 200, 5
    user, vectors = torch.randn(1, 4) * 0.3, torch.randn(item_count, 4) * 0.3
    counts = np.arange(item_count) ** 2
    settings = OptimisationSettings(popular_negative_count=60, uniform_negative_count=40)
    sampler = NegativeSampler.of(counts, settings)
    rng = np.random.default_rng(0)
    positive = (user @ vectors[target])[0]
    normalisers = []
    for _ in range(500):
        drawn = torch.from_numpy(sampler.draw(rng))
        loss = sampled_softmax_loss(
            user,
            vectors[[target]],
            vectors[drawn],
            torch.from_numpy(sampler.log_expected_counts[drawn]),
            (drawn == target)[None, :],
            1.0,
        )
        normalisers.append(float(torch.exp(loss + positive)))
    true = float(torch.exp(user @ vectors.T).sum())
    assert abs(np.mean(normalisers) / true - 1.0) < 0.02


def test_negatives_stop_counting_where_they_are_seen():
    inputs = np.array([[3, 1, 3, PADDING], [9, 9, 9, 9], [PADDING] * 4])
    items = np.array([3, 9, 0, 3])
    assert first_positions(inputs, items).tolist() == [[0, 4, 4, 0], [4, 0, 4, 4], [4, 4, 4, 4]]


def test_causal_pools_are_the_pools_of_every_prefix():
    pools = RecencyPools(NetworkSettings(dimension=8, history_length=6))
    torch.manual_seed(4)
    vectors = torch.randn(2, 6, 8)
    with torch.inference_mode():
        causal = pools.causal(vectors)
        for end in range(1, 7):
            prefix = pools.newest(vectors[:, :end].flip(1), torch.ones(2, end))
            torch.testing.assert_close(causal[:, end - 1], prefix)


def test_absent_items_do_not_count_in_the_pools():
    pools = RecencyPools(NetworkSettings(dimension=8, history_length=6))
    vectors = torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        short = pools.newest(vectors[:, :2], torch.ones(1, 2))
        padded = pools.newest(vectors, torch.tensor([[1.0, 1.0, 0.0, 0.0]]))
        nothing = pools.newest(vectors, torch.zeros(1, 4))
    torch.testing.assert_close(short, padded)
    assert (nothing == 0).all()


def test_the_transformer_starts_silent_and_an_unknown_segment_adds_nothing():
    net = network()
    items, segments = torch.tensor([[1, 2, 3]]), torch.tensor([[0, 2]])
    with torch.inference_mode():
        vectors = functional.embedding(items, net.item_vectors())
        ordered = net.encoder.ordered(vectors, segments)[:, -1]
        pooled = net.encoder.pooled(vectors.flip(1), torch.ones(1, 3), segments)
        unknown = net.encoder.pooled(vectors.flip(1), torch.ones(1, 3), torch.zeros_like(segments))
        alone = functional.normalize(
            net.encoder.pools.newest(vectors.flip(1), torch.ones(1, 3)) + net.encoder.bias, dim=1
        )
    torch.testing.assert_close(ordered, pooled)
    assert not torch.allclose(pooled, unknown)
    torch.testing.assert_close(unknown, alone)


def test_a_state_sees_nothing_that_comes_after():
    net = network()
    torch.nn.init.eye_(net.encoder.transformer.output.weight)
    segments = torch.zeros(1, 2, dtype=torch.int64)
    with torch.inference_mode():
        vectors = net.item_vectors()
        short, longer = (
            net.encoder.ordered(functional.embedding(torch.tensor([items]), vectors), segments)
            for items in ([1, 2, 3], [1, 2, 3, 9, 8])
        )
    torch.testing.assert_close(short, longer[:, :3])
    assert not torch.allclose(short, net.encoder.pools.causal(vectors[[1, 2, 3]][None]))


def test_an_item_without_train_interactions_has_content_alone():
    content = ContentTable(np.array([[1], [1]]), np.ones((2, 1), dtype=np.float32), 2)
    net = SequenceNetwork(content, np.array([4, 0]), (), NetworkSettings(dimension=8)).eval()
    with torch.inference_mode():
        vectors = net.item_vectors()
        torch.testing.assert_close(vectors[1], functional.normalize(net.content[1], dim=0))
        assert not torch.allclose(vectors[0], vectors[1])


def test_segments_are_rows_from_one_and_zero_where_unknown():
    table = SegmentTable.of([Segment(country="IN", language="hi"), Segment(country="BR")])
    assert table.sizes == (2, 1, 0, 0)
    rows = table.rows([Segment(country="IN"), Segment(country="BR", language="new"), Segment()])
    assert rows.tolist() == [[2, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(("items", "expected"), [([[0, 1, 2, 3]] * 4, 1), ([[0], [1]], 0)])
def test_the_joint_phase_trains_the_transformer_where_there_is_an_order(items, expected):
    net = network()
    settings = OptimisationSettings(joint=replace(OptimisationSettings().joint, maximum_epochs=1))
    data = sequences(*items)
    training = NetworkTraining(
        net,
        data,
        np.zeros((len(data), 2), dtype=np.int64),
        settings,
        history_length=6,
        validate=lambda *_: 0.5,
        rng=np.random.default_rng(0),
        progress=SilentProgress(),
    )
    assert training.fit_jointly() == expected
    assert bool(net.encoder.transformer.output.weight.any()) == bool(expected)


def test_a_budget_below_one_epoch_ends_within_it():
    net = network()
    looked_at: list[int] = []

    class Counting(SilentProgress):
        def advance(self, steps: int = 1, note: str = "") -> None:  # noqa: ARG002
            looked_at.append(steps)

    phase = replace(OptimisationSettings().pools, interaction_budget=50, batch_interactions=20)
    data = sequences(*([list(range(20))] * 10))
    NetworkTraining(
        net,
        data,
        np.zeros((len(data), 2), dtype=np.int64),
        OptimisationSettings(pools=phase),
        history_length=6,
        validate=lambda *_: 0.5,
        rng=np.random.default_rng(0),
        progress=Counting(),
    ).fit_pools()
    assert looked_at == [20, 20, 10, 0]


def test_only_an_item_with_content_is_trained_without_its_identity():
    content = ContentTable(
        np.array([[1], [0]], dtype=np.int64), np.array([[1.0], [0.0]], dtype=np.float32), 2
    )
    torch.manual_seed(0)
    settings = NetworkSettings(dimension=8, head_count=2, history_length=6, item_dropout=0.5)
    described_and_not = SequenceNetwork(content, np.ones(2, dtype=np.int64), (), settings).train()
    drawn = torch.stack([described_and_not.item_vectors() for _ in range(20)])
    assert (drawn[:, 0] != drawn[0, 0]).any()
    assert (drawn[:, 1] == drawn[0, 1]).all()
