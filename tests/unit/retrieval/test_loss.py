from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from services.recommendations.retrieval.towers import sampled_softmax_loss


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
