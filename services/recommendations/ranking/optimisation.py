"""Fitting the network: softmax cross entropy over the catalogue, full or sampled."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from services.recommendations.ranking.batches import draw_windows, steps
from services.recommendations.ranking.network import PADDING, SequenceNetwork
from services.recommendations.ranking.settings import OptimisationSettings
from streamrec.contracts.errors import PermanentError
from streamrec.contracts.progress import Progress
from streamrec.training.splits import Sequences

_WARM_UP_STEPS: Final = 50
_LAST_RATE: Final = 0.02
"""The learning rate at the end of training, relative to its peak."""
_LARGEST_GRADIENT_NORM: Final = 1.0


def fit_network(
    network: SequenceNetwork,
    train: Sequences,
    settings: OptimisationSettings,
    *,
    history_length: int,
    validate: Callable[[SequenceNetwork], float],
    rng: np.random.Generator,
    progress: Progress,
) -> int:
    """Train in place and leave the weights of the epoch with the best validation metric in the network.

    Args:
        network: Freshly built.
        train: Sequences to learn to continue.
        settings: See `OptimisationSettings`.
        history_length: Items of a training window.
        validate: Higher is better; called in evaluation mode after each epoch.
        rng: Source of windows, order and negatives. Dropout draws from torch's global generator.
        progress: One step per epoch's interactions.

    Returns:
        The best epoch, counted from 1.

    Raises:
        PermanentError: The loss stopped being finite.
    """
    interactions = int(np.maximum(train.lengths - 1, 0).sum())
    epochs = settings.epochs(interactions)
    decayed = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    plain = [parameter for parameter in network.parameters() if parameter.dim() <= 1]
    optimiser = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    total_steps = epochs * max(1, math.ceil(interactions / settings.batch_interactions))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, total_steps))
    best = (-math.inf, 0, copy.deepcopy(network.state_dict()))
    progress.start("ranker: transformer", epochs * interactions)
    for epoch in range(1, epochs + 1):
        losses = []
        network.train()
        windows = draw_windows(train, history_length, rng)
        for inputs, targets in steps(train, windows, settings.batch_interactions, rng):
            loss = _loss(network, inputs, targets, settings.negative_count, rng)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT_NORM)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
            progress.advance(int((targets != PADDING).sum()))
        if not np.isfinite(losses).all():
            raise PermanentError(
                f"the loss of epoch {epoch} is not finite; lower ranking.optimisation.learning_rate"
            )
        network.eval()
        metric = validate(network)
        if metric > best[0]:
            best = (metric, epoch, copy.deepcopy(network.state_dict()))
        progress.advance(
            0, note=f"epoch {epoch}, loss {np.mean(losses):.3f}, validation NDCG@10 {metric:.4f}"
        )
        if epoch - best[1] >= settings.patience:
            break
    network.load_state_dict(best[2])
    network.eval()
    progress.finish(note=f"best epoch {best[1]}, validation NDCG@10 {best[0]:.4f}")
    return best[1]


def sampled_softmax_loss(
    states: Tensor, targets: Tensor, vectors: Tensor, biases: Tensor, negatives: Tensor
) -> Tensor:
    """Mean cross entropy of the targets against themselves and shared, uniformly drawn negatives.

    A negative's logit is raised by log((n - 1) / m), the log of how many items it stands for, so that the
    normaliser estimates the full softmax's (Bengio and Senecal 2008, eq. 6, uniform proposal). A negative
    that is the target of a row does not count in that row.

    Args:
        states: Shape (t, d).
        targets: Shape (t,), item rows.
        vectors: Shape (n, d).
        biases: Shape (n,).
        negatives: Shape (m,), distinct item rows.
    """
    positive = (states * vectors[targets]).sum(dim=1) + biases[targets]
    correction = math.log(max(1, len(vectors) - 1) / len(negatives))
    negative = torch.addmm(biases[negatives] + correction, states, vectors[negatives].T)
    negative = negative.masked_fill(negatives[None, :] == targets[:, None], -torch.inf)
    normaliser = torch.logaddexp(positive, negative.logsumexp(dim=1))
    return (normaliser - positive).mean()


def _loss(
    network: SequenceNetwork,
    inputs: NDArray[np.int64],
    targets: NDArray[np.int64],
    negative_count: int,
    rng: np.random.Generator,
) -> Tensor:
    vectors, biases = network.item_vectors(), network.item_biases()
    predicted = torch.from_numpy(targets != PADDING)
    states = network.hidden_states(torch.from_numpy(inputs), vectors)[predicted]
    wanted = torch.from_numpy(targets)[predicted]
    if len(vectors) <= negative_count:
        return functional.cross_entropy(torch.addmm(biases, states, vectors.T), wanted)
    negatives = torch.from_numpy(np.sort(rng.choice(len(vectors), negative_count, replace=False)))
    return sampled_softmax_loss(states, wanted, vectors, biases, negatives)


def _rate(step: int, total_steps: int) -> float:
    warm_up = min(1.0, (step + 1) / _WARM_UP_STEPS)
    done = min(1.0, step / max(1, total_steps))
    return warm_up * (_LAST_RATE + (1.0 - _LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * done)))
