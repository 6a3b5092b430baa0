"""Fitting the network in two phases: the pools with the item vectors, then all of it together."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.recommendations.ranking.batches import draw_examples, draw_windows, steps
from services.recommendations.ranking.negatives import NegativeSampler, first_positions, sampled_softmax_loss
from services.recommendations.ranking.network import PADDING, SequenceNetwork
from services.recommendations.ranking.settings import OptimisationSettings, PhaseSettings
from streamrec.contracts.errors import PermanentError
from streamrec.contracts.progress import Progress
from streamrec.training.splits import Sequences

_WARM_UP_STEPS: Final = 50
_LAST_RATE: Final = 0.05
"""The learning rate at the end of training, relative to its peak."""
_LENGTH_GROUPS: Final = 6
_REST_RATE: Final = 0.1
"""Learning rate of item vectors and pools beside the transformer, relative to its rate."""
_LARGEST_GRADIENT_NORM: Final = 1.0

Validate = Callable[[SequenceNetwork, bool], float]
"""Quality of a network in evaluation mode, higher is better; the flag says whether with its transformer."""


class NetworkTraining:
    """One training run of a network, changed in place."""

    def __init__(
        self,
        network: SequenceNetwork,
        train: Sequences,
        segments: NDArray[np.int64],
        settings: OptimisationSettings,
        *,
        history_length: int,
        validate: Validate,
        rng: np.random.Generator,
        progress: Progress,
    ) -> None:
        """Prepare.

        Args:
            network: Freshly built.
            train: Sequences to learn to continue.
            segments: Shape (users of ``train``, attributes); see `UserEncoder.pooled`.
            settings: See `OptimisationSettings`.
            history_length: Items of a history that the network looks at.
            validate: Called after each epoch.
            rng: Source of order, windows and negatives. Dropout draws from torch's global generator.
            progress: One step per interaction looked at.
        """
        self._network = network
        self._train = train
        self._segments = segments
        self._settings = settings
        self._history_length = history_length
        self._validate = validate
        self._rng = rng
        self._progress = progress
        item_count = len(network.identity)
        self._sampler = NegativeSampler.of(np.bincount(train.items, minlength=item_count), settings)

    def fit_pools(self) -> int:
        """Fit the item vectors, the pools and the segments; return the best epoch, counted from 1.

        Raises:
            PermanentError: The loss stopped being finite.
        """
        return self._fit("pools", self._settings.pools, self._pool_losses, False)

    def fit_jointly(self) -> int:
        """Fit the transformer, and the rest along with it but slower; return the best epoch.

        Raises:
            PermanentError: The loss stopped being finite.
        """
        return self._fit("joint", self._settings.joint, self._joint_losses, True)

    def _fit(
        self,
        name: str,
        phase: PhaseSettings,
        losses_of_epoch: Callable[[], Iterator[tuple[Tensor, int]]],
        ordered: bool,
    ) -> int:
        """Train, and leave the weights of the best epoch in the network; return it, counted from 1.

        It is 0, and nothing changes, where no sequence is long enough to learn from.
        """
        network, progress = self._network, self._progress
        interactions = int(self._train.items.size)
        remaining = phase.total(interactions)
        epochs = math.ceil(remaining / max(1, interactions))
        groups = _parameter_groups(network, phase, ordered)
        parameters = [parameter for group in groups for parameter in group["params"]]
        optimiser = torch.optim.AdamW(groups, fused=True)
        total_steps = max(1, math.ceil(remaining / phase.batch_interactions))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, total_steps))
        best = (-math.inf, 0, copy.deepcopy(network.state_dict()))
        progress.start(f"ranker: {name}", remaining)
        for epoch in range(1, epochs + 1):
            losses = []
            network.train()
            for loss, looked_at in losses_of_epoch():
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(parameters, _LARGEST_GRADIENT_NORM)
                optimiser.step()
                schedule.step()
                losses.append(float(loss.detach()))
                progress.advance(min(looked_at, remaining))
                remaining = max(0, remaining - looked_at)
                if remaining == 0:
                    break
            if not losses:
                break
            if not np.isfinite(losses).all():
                raise PermanentError(
                    f"the loss of epoch {epoch} is not finite; "
                    f"lower ranking.optimisation.{name}.learning_rate"
                )
            network.eval()
            metric = self._validate(network, ordered)
            if metric > best[0]:
                best = (metric, epoch, copy.deepcopy(network.state_dict()))
            progress.advance(
                0, note=f"epoch {epoch}, loss {np.mean(losses):.3f}, validation NDCG {metric:.4f}"
            )
            if epoch - best[1] >= phase.patience:
                break
        network.load_state_dict(best[2])
        network.eval()
        progress.finish(note=f"best epoch {best[1]}, validation NDCG {best[0]:.4f}")
        return best[1]

    def _pool_losses(self) -> Iterator[tuple[Tensor, int]]:
        """One epoch of single interactions in random order: no step is about a few users alone."""
        phase, network = self._settings.pools, self._network
        for users, history, targets in draw_examples(
            self._train, self._history_length, phase.batch_interactions, self._rng
        ):
            negatives = self._sampler.draw(self._rng)
            chunks = _by_length(history)
            unseen = np.concatenate([first_positions(chunk, negatives) == chunk.shape[1] for chunk in chunks])
            not_negative = ~unseen | (negatives[None, :] == targets[:, None])
            target_vectors, negative_vectors, *chunk_vectors = self._vectors(targets, negatives, *chunks)
            segments = torch.split(torch.from_numpy(self._segments[users]), [len(chunk) for chunk in chunks])
            user_vectors = [
                network.encoder.pooled(vectors, self._kept(chunk), rows)
                for vectors, chunk, rows in zip(chunk_vectors, chunks, segments, strict=True)
            ]
            loss = self._loss(
                torch.cat(user_vectors), target_vectors, negative_vectors, negatives, not_negative
            )
            yield loss, len(targets)

    def _kept(self, history: NDArray[np.int64]) -> Tensor:
        """Shape (b, length): 1 for the items of a history, newest first, that history dropout leaves."""
        kept = torch.rand(history.shape) >= self._settings.history_dropout
        kept[:, :1] = True
        return (torch.from_numpy(history != PADDING) & kept).float()

    def _joint_losses(self) -> Iterator[tuple[Tensor, int]]:
        """One epoch of windows, every position of which is predicted from those before."""
        phase, network = self._settings.joint, self._network
        windows = draw_windows(self._train, self._history_length, self._rng)
        for users, inputs, targets in steps(self._train, windows, phase.batch_interactions, self._rng):
            real = targets != PADDING
            wanted = targets[real]
            negatives = self._sampler.draw(self._rng)
            first = first_positions(inputs, negatives)
            position = np.arange(inputs.shape[1])
            not_negative = (first[:, None, :] <= position[None, :, None])[real]
            not_negative |= negatives[None, :] == wanted[:, None]
            history_vectors, target_vectors, negative_vectors = self._vectors(inputs, wanted, negatives)
            user_vectors = network.encoder.ordered(history_vectors, torch.from_numpy(self._segments[users]))
            loss = self._loss(
                user_vectors[torch.from_numpy(real)],
                target_vectors,
                negative_vectors,
                negatives,
                not_negative,
            )
            yield loss, len(wanted)

    def _vectors(self, *items: NDArray[np.int64]) -> tuple[Tensor, ...]:
        """Item vectors of some arrays of item rows, padding standing for any item.

        The vector of an item is computed once, wherever and however often it occurs in the step.
        """
        flat = [np.maximum(part, 0).ravel() for part in items]
        rows, places = np.unique(np.concatenate(flat), return_inverse=True)
        vectors = self._network.item_vectors(torch.from_numpy(rows))
        parts = np.split(places, np.cumsum([part.size for part in flat])[:-1])
        return tuple(
            vectors.index_select(0, torch.from_numpy(place)).view(*part.shape, -1)
            for place, part in zip(parts, items, strict=True)
        )

    def _loss(
        self,
        users: Tensor,
        targets: Tensor,
        negative_vectors: Tensor,
        negatives: NDArray[np.int64],
        not_negative: NDArray[np.bool_],
    ) -> Tensor:
        return sampled_softmax_loss(
            users,
            targets,
            negative_vectors,
            self._sampler.log_expected_counts[torch.from_numpy(negatives)],
            torch.from_numpy(not_negative),
            self._network.temperature,
        )


def _by_length(history: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Cut histories that are sorted by length into a few parts, each as narrow as its longest history."""
    parts = np.array_split(history, min(_LENGTH_GROUPS, len(history)))
    return [part[:, : max(1, int((part != PADDING).sum(axis=1).max()))] for part in parts]


def _parameter_groups(network: SequenceNetwork, phase: PhaseSettings, ordered: bool) -> list[dict[str, Any]]:
    """The transformer's matrices decay; the rest learns slower beside it, or alone at the full rate."""
    transformer = list(network.encoder.transformer.parameters())
    chosen = {id(parameter) for parameter in transformer}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in chosen]
    rate = phase.learning_rate
    if not ordered:
        return [{"params": rest, "lr": rate, "weight_decay": 0.0}]
    matrices = [parameter for parameter in transformer if parameter.dim() > 1]
    vectors = [parameter for parameter in transformer if parameter.dim() <= 1]
    return [
        {"params": matrices, "lr": rate, "weight_decay": phase.weight_decay},
        {"params": vectors, "lr": rate, "weight_decay": 0.0},
        {"params": rest, "lr": rate * _REST_RATE, "weight_decay": 0.0},
    ]


def _rate(step: int, total_steps: int) -> float:
    warm_up = min(1.0, (step + 1) / min(_WARM_UP_STEPS, total_steps))
    done = min(1.0, step / max(1, total_steps))
    return warm_up * (_LAST_RATE + (1.0 - _LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * done)))
