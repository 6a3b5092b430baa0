from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from services.recommendations.retrieval.towers import OwnNegatives, sampled_softmax_loss


def test_the_loss_equals_a_plain_second_implementation() -> None:
    rng = np.random.default_rng(0)
    users, candidates = rng.normal(size=(3, 4)), rng.normal(size=(5, 4))
    expected_counts = rng.uniform(0.1, 2.0, size=5)
    not_negative = np.zeros((3, 5), dtype=bool)
    not_negative[0, 3] = not_negative[2, 0] = True
    total = 0.0
    for user in range(3):
        corrected = [
            math.exp(float(users[user] @ candidates[item]) / 0.5)
            / (1.0 if item == user else expected_counts[item])
            for item in range(5)
        ]
        denominator = sum(corrected[item] for item in range(5) if not not_negative[user, item])
        total -= math.log(corrected[user] / denominator)
    loss = sampled_softmax_loss(
        torch.tensor(users),
        torch.tensor(candidates),
        torch.tensor(np.log(expected_counts)),
        torch.tensor(not_negative),
        0.5,
    )
    assert float(loss) == pytest.approx(total / 3)


def test_sampled_negatives_estimate_the_full_softmax_without_bias() -> None:
    shares = np.array([0.5, 0.25, 0.15, 0.07, 0.03])
    batch, uniform, target = 9, 4, 3
    expected_counts = (batch - 1) * shares + uniform / 5
    items = torch.tensor([[0.9], [0.1], [-0.4], [0.3], [1.2]])
    user = torch.ones(1, 1)
    rng = np.random.default_rng(0)

    def mean_inverse_probability(log_counts: np.ndarray) -> float:
        """Mean of exp(loss), which is the estimated denominator over the target's own term."""
        values = []
        for _ in range(3000):
            drawn = np.concatenate(
                (
                    [target],
                    rng.choice(5, size=batch - 1, p=shares),
                    rng.integers(5, size=uniform),
                )
            )
            not_negative = drawn == target
            not_negative[0] = False
            loss = sampled_softmax_loss(
                user,
                items[drawn],
                torch.tensor(log_counts[drawn], dtype=torch.float32),
                torch.tensor(not_negative)[None],
                1.0,
            )
            values.append(math.exp(float(loss)))
        return float(np.mean(values))

    logits = items[:, 0].numpy().astype(np.float64)
    full = float(np.exp(logits).sum() / np.exp(logits[target]))
    assert mean_inverse_probability(np.log(expected_counts)) == pytest.approx(full, rel=0.02)
    # Without the correction the frequent items weigh too much.
    assert mean_inverse_probability(np.zeros(5)) > 1.5 * full


def test_hard_negatives_leave_the_gradient_of_the_full_softmax_as_it_is() -> None:
    """Of exp(loss), the estimated denominator over the target's term: its mean over all draws is exact."""
    items = torch.tensor([[0.9, 0.1], [-0.2, 0.8], [0.4, -0.5], [0.7, 0.6]], dtype=torch.float64)
    start = torch.tensor([[0.8, 0.5]], dtype=torch.float64)
    target, window, shares = 2, (0, 3), np.array([0.5, 0.3, 0.15, 0.05])
    by_chance = shares + 1.0 / 4  # one draw by share of the targets, one uniform
    expected = by_chance.copy()
    expected[list(window)] += 1.0 / len(window)

    user = start.clone().requires_grad_()
    logits = (items @ user[0]) / 0.5
    torch.exp(torch.logsumexp(logits, 0) - logits[target]).backward()
    assert user.grad is not None
    full = user.grad.numpy().copy()

    def mean_gradient(counts: np.ndarray) -> np.ndarray:
        user = start.clone().requires_grad_()
        for in_batch, uniform, own in itertools.product(range(4), range(4), window):
            drawn = [target, in_batch, uniform]
            loss = sampled_softmax_loss(
                user,
                items[drawn],
                torch.tensor(np.log(counts[drawn]))[None],
                torch.tensor([[False, in_batch == target, uniform == target]]),
                0.5,
                OwnNegatives(
                    items[[own]][None],
                    torch.tensor(np.log(counts[[own]]))[None],
                    torch.zeros(1, 1, dtype=torch.bool),
                ),
            )
            (torch.exp(loss) * shares[in_batch] / 4 / len(window)).backward()
        assert user.grad is not None
        return user.grad.numpy().copy()

    np.testing.assert_allclose(mean_gradient(expected), full, rtol=1e-10)
    # Taken for items that came by chance, the hard ones are pushed down too far.
    assert np.linalg.norm(mean_gradient(by_chance)) > 1.5 * np.linalg.norm(full)


def test_absent_hard_negatives_change_nothing() -> None:
    rng = np.random.default_rng(2)
    users, candidates = (torch.tensor(rng.normal(size=(count, 4))) for count in (2, 5))
    counts, not_negative = torch.zeros(5, dtype=torch.float64), torch.zeros(2, 5, dtype=torch.bool)
    plain = sampled_softmax_loss(users, candidates, counts, not_negative, 0.5)
    own = OwnNegatives(torch.tensor(rng.normal(size=(2, 3, 4))), torch.zeros(2, 3), torch.ones(2, 3).bool())
    assert sampled_softmax_loss(users, candidates, counts, not_negative, 0.5, own) == plain
