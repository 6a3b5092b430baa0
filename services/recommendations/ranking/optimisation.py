"""Fitting the network in two phases: the pools with the item vectors, then all of it together.

A run goes on from its last checkpoint: after a kill at most the epoch that it was in is lost, and the
result is the one of a run that was never interrupted.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from services.recommendations.ranking.batches import draw_examples, draw_windows, steps
from services.recommendations.ranking.checkpoints import (
    Checkpoint,
    Checkpoints,
    random_state,
    restore_random_state,
)
from services.recommendations.ranking.negatives import (
    NegativeSampler,
    RejectedVectors,
    first_positions,
    sampled_softmax_loss,
)
from services.recommendations.ranking.network import PADDING, SequenceNetwork
from services.recommendations.ranking.settings import OptimisationSettings, PhaseSettings
from services.recommendations.training.known_rejections import NO_KNOWN_REJECTIONS, KnownRejections
from streamrec.contracts.errors import PermanentError
from streamrec.contracts.progress import Progress
from streamrec.training.splits import UserHistories

_WARM_UP_STEPS: Final = 50
_LAST_RATE: Final = 0.05
"""The learning rate at the end of training, relative to its peak."""
_LENGTH_GROUPS: Final = 6
_LARGEST_GRADIENT_NORM: Final = 1.0
_NETWORK, _BEST, _OPTIMISER = "network.", "best.", "optimiser."

Validate = Callable[[SequenceNetwork, bool], float]
"""Quality of a network in evaluation mode, higher is better; the flag says whether with its transformer."""


@dataclass(frozen=True, slots=True)
class EpochFigures:
    """One point of the learning curve.

    Attributes:
        phase: ``pools`` or ``joint``.
        epoch: From 1 in each phase.
        loss: Mean over the epoch's steps.
        validation_ndcg: As `Validate` measures it.
        seconds: Wall time of the epoch, its validation included.
    """

    phase: str
    epoch: int
    loss: float
    validation_ndcg: float
    seconds: float


@dataclass
class _Position:
    """How far a phase has come.

    Attributes:
        remaining: Interactions still to be looked at.
        epoch: Epochs done.
        step: Steps done.
        best_metric: Of the best epoch.
        best_epoch: 0 before the first.
    """

    remaining: int
    epoch: int = 0
    step: int = 0
    best_metric: float = -math.inf
    best_epoch: int = 0


class NetworkTraining:
    """One training run of a network, changed in place.

    Attributes:
        curve: The learning curve so far, the part before an interruption included.
    """

    def __init__(
        self,
        network: SequenceNetwork,
        train: UserHistories,
        segments: NDArray[np.int64],
        settings: OptimisationSettings,
        *,
        history_length: int,
        validate: Validate,
        rng: np.random.Generator,
        progress: Progress,
        checkpoints: Checkpoints | None = None,
        rejections: KnownRejections = NO_KNOWN_REJECTIONS,
    ) -> None:
        """Prepare, and read the checkpoint of an interrupted run where there is one.

        Args:
            network: Freshly built, on the device to train on.
            train: Sequences to learn to continue.
            segments: Shape (users of ``train``, attributes); see `UserEncoder.pooled`.
            settings: See `OptimisationSettings`.
            history_length: Items of a history that the network looks at.
            validate: Called after each epoch.
            rng: Source of order, windows and negatives. Dropout draws from torch's global generator.
            progress: One step per interaction looked at.
            checkpoints: Where to write one after each epoch; nowhere when None.
            rejections: What users had rejected before each interaction of ``train``.
        """
        self._network = network
        self._device = network.identity.device
        self._train = train
        self._segments = segments
        self._settings = settings
        self._history_length = history_length
        self._validate = validate
        self._rng = rng
        self._progress = progress
        self._checkpoints = checkpoints
        self._rejections = rejections
        self._interrupted = checkpoints.load() if checkpoints is not None else None
        state = self._interrupted.state if self._interrupted is not None else {}
        self.curve = [EpochFigures(**point) for point in state.get("curve", ())]
        self._finished: dict[str, int] = dict(state.get("finished", {}))
        item_count = len(network.identity)
        self._sampler = NegativeSampler.of(np.bincount(train.items, minlength=item_count), settings)

    @property
    def best_epochs(self) -> dict[str, int]:
        """Best epoch of each phase that is over."""
        return dict(self._finished)

    def fit_pools(self) -> int:
        """Fit the item vectors, the pools and the segments; return the best epoch, counted from 1.

        Raises:
            PermanentError: The loss stopped being finite.
        """
        return self._fit("pools", self._settings.pools, self._pool_losses, False)

    def fit_jointly(self) -> int:
        """Fit the transformer, and the rest along with it; return the best epoch.

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
        if name in self._finished:
            return self._finished[name]
        network, progress = self._network, self._progress
        interactions = int(self._train.items.size)
        total = phase.total(interactions)
        total_steps = max(1, math.ceil(total / phase.batch_interactions))
        groups = _parameter_groups(network, phase, ordered)
        peak_rates = [float(group["lr"]) for group in groups]
        parameters = [parameter for group in groups for parameter in group["params"]]
        optimiser = torch.optim.AdamW(groups, fused=True)
        position, best = _Position(total), copy.deepcopy(network.state_dict())
        if self._interrupted is not None and self._interrupted.state["phase"] == name:
            position, best = self._resume(self._interrupted, optimiser, parameters)
        progress.start(f"ranker: {name}", total)
        if self._checkpoints is not None and self._checkpoints.refused:
            progress.advance(0, note=f"starts anew: {self._checkpoints.refused}")
        if position.epoch:
            progress.advance(total - position.remaining, note=f"goes on after epoch {position.epoch}")
        while position.remaining > 0 and position.epoch - position.best_epoch < phase.patience:
            started = time.perf_counter()
            losses = []
            network.train()
            for loss, looked_at in losses_of_epoch():
                for group, peak in zip(optimiser.param_groups, peak_rates, strict=True):
                    group["lr"] = peak * _rate(position.step, total_steps)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(parameters, _LARGEST_GRADIENT_NORM)
                optimiser.step()
                position.step += 1
                losses.append(float(loss.detach()))
                progress.advance(min(looked_at, position.remaining))
                position.remaining = max(0, position.remaining - looked_at)
                if position.remaining == 0:
                    break
            if not losses:
                break
            position.epoch += 1
            if not np.isfinite(losses).all():
                raise PermanentError(
                    f"the loss of epoch {position.epoch} is not finite; "
                    f"lower ranking.optimisation.{name}.learning_rate"
                )
            network.eval()
            metric = self._validate(network, ordered)
            if metric > position.best_metric:
                position.best_metric, position.best_epoch = metric, position.epoch
                best = copy.deepcopy(network.state_dict())
            figures = EpochFigures(
                name, position.epoch, float(np.mean(losses)), metric, time.perf_counter() - started
            )
            self.curve.append(figures)
            progress.advance(
                0, note=f"epoch {figures.epoch}, loss {figures.loss:.3f}, validation NDCG {metric:.4f}"
            )
            self._save(name, position, best, optimiser, parameters)
        network.load_state_dict(best)
        network.eval()
        self._finished[name] = position.best_epoch
        progress.finish(note=f"best epoch {position.best_epoch}, validation NDCG {position.best_metric:.4f}")
        return position.best_epoch

    def _save(
        self,
        phase: str,
        position: _Position,
        best: dict[str, Tensor],
        optimiser: torch.optim.Optimizer,
        parameters: list[Tensor],
    ) -> None:
        if self._checkpoints is None:
            return
        tensors = random_state(self._device)
        tensors |= {_NETWORK + name: tensor for name, tensor in self._network.state_dict().items()}
        tensors |= {_BEST + name: tensor for name, tensor in best.items()}
        for place, parameter in enumerate(parameters):
            for name, tensor in optimiser.state[parameter].items():
                tensors[f"{_OPTIMISER}{place}.{name}"] = tensor
        state = {
            "phase": phase,
            "position": asdict(position),
            "finished": self._finished,
            "curve": [asdict(point) for point in self.curve],
            "numpy_rng": self._rng.bit_generator.state,
        }
        # Cloned: the best weights may be the same memory as the present ones, which the format refuses.
        on_cpu = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
        self._checkpoints.save(Checkpoint(state, on_cpu))

    def _resume(
        self, checkpoint: Checkpoint, optimiser: torch.optim.Optimizer, parameters: list[Tensor]
    ) -> tuple[_Position, dict[str, Tensor]]:
        """Put everything back to where the checkpoint was written."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {
                name.removeprefix(prefix): tensor.to(self._device)
                for name, tensor in checkpoint.tensors.items()
                if name.startswith(prefix)
            }

        self._network.load_state_dict(part(_NETWORK))
        for place, parameter in enumerate(parameters):
            values = part(f"{_OPTIMISER}{place}.")
            if values:
                optimiser.state[parameter] = values
        self._rng.bit_generator.state = checkpoint.state["numpy_rng"]
        restore_random_state(checkpoint.tensors, self._device)
        return _Position(**checkpoint.state["position"]), part(_BEST)

    def _pool_losses(self) -> Iterator[tuple[Tensor, int]]:
        """One epoch of single interactions in random order: no step is about a few users alone."""
        phase, network = self._settings.pools, self._network
        for examples, history, targets in draw_examples(
            self._train, self._history_length, phase.batch_interactions, self._rng
        ):
            negatives = self._sampler.draw(self._rng)
            chunks = _by_length(history)
            unseen = np.concatenate([first_positions(chunk, negatives) == chunk.shape[1] for chunk in chunks])
            not_negative = ~unseen | (negatives[None, :] == targets[:, None])
            rejected = self._rejections.before(examples)
            target_vectors, negative_vectors, rejected_vectors, *chunk_vectors = self._vectors(
                targets, negatives, rejected.items, *chunks
            )
            segments = torch.split(
                self._on_device(self._segments[self._train.users[examples]]), [len(chunk) for chunk in chunks]
            )
            user_vectors = [
                network.encoder.pooled(vectors, self._kept(chunk), rows)
                for vectors, chunk, rows in zip(chunk_vectors, chunks, segments, strict=True)
            ]
            loss = self._loss(
                torch.cat(user_vectors),
                target_vectors,
                negative_vectors,
                negatives,
                not_negative,
                RejectedVectors(rejected_vectors, self._on_device(rejected.log_weights)),
            )
            yield loss, len(targets)

    def _kept(self, history: NDArray[np.int64]) -> Tensor:
        """Shape (b, length): 1 for the items of a history, newest first, that history dropout leaves."""
        kept = torch.rand(history.shape, device=self._device) >= self._settings.history_dropout
        kept[:, :1] = True
        return (self._on_device(history != PADDING) & kept).float()

    def _joint_losses(self) -> Iterator[tuple[Tensor, int]]:
        """One epoch of windows, every position of which is predicted from those before."""
        phase, network = self._settings.joint, self._network
        windows = draw_windows(self._train, self._history_length, self._rng)
        for chosen, inputs, targets in steps(self._train, windows, phase.batch_interactions, self._rng):
            real = targets != PADDING
            wanted = targets[real]
            negatives = self._sampler.draw(self._rng)
            first = first_positions(inputs, negatives)
            position = np.arange(inputs.shape[1])
            not_negative = (first[:, None, :] <= position[None, :, None])[real]
            not_negative |= negatives[None, :] == wanted[:, None]
            places = windows.starts[chosen, None] + 1 + position
            rejected = self._rejections.before(places[real])
            history_vectors, target_vectors, negative_vectors, rejected_vectors = self._vectors(
                inputs, wanted, negatives, rejected.items
            )
            history_vectors = functional.dropout(history_vectors, self._settings.vector_dropout)
            segments = self._on_device(self._segments[windows.users[chosen]])
            user_vectors = network.encoder.ordered(history_vectors, segments)
            # By position and not by mask: on a GPU a mask would wait for its count.
            positions = self._on_device(np.flatnonzero(real))
            loss = self._loss(
                user_vectors.flatten(0, 1).index_select(0, positions),
                target_vectors,
                negative_vectors,
                negatives,
                not_negative,
                RejectedVectors(rejected_vectors, self._on_device(rejected.log_weights)),
            )
            yield loss, len(wanted)

    def _vectors(self, *items: NDArray[np.int64]) -> tuple[Tensor, ...]:
        """Item vectors of some arrays of item rows, padding standing for any item.

        The vector of an item is computed once, wherever and however often it occurs in the step.
        """
        flat = [np.maximum(part, 0).ravel() for part in items]
        rows, places = np.unique(np.concatenate(flat), return_inverse=True)
        vectors = self._network.item_vectors(self._on_device(rows))
        parts = np.split(places, np.cumsum([part.size for part in flat])[:-1])
        return tuple(
            vectors.index_select(0, self._on_device(place)).view(*part.shape, vectors.shape[1])
            for place, part in zip(parts, items, strict=True)
        )

    def _loss(
        self,
        users: Tensor,
        targets: Tensor,
        negative_vectors: Tensor,
        negatives: NDArray[np.int64],
        not_negative: NDArray[np.bool_],
        rejected: RejectedVectors,
    ) -> Tensor:
        return sampled_softmax_loss(
            users,
            targets,
            negative_vectors,
            self._on_device(self._sampler.log_expected_counts[negatives]),
            self._on_device(not_negative),
            self._network.temperature,
            rejected if rejected.vectors.numel() else None,
        )

    def _on_device(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self._device)


def _by_length(history: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Cut histories that are sorted by length into a few parts, each as narrow as its longest history."""
    parts = np.array_split(history, min(_LENGTH_GROUPS, len(history)))
    return [part[:, : max(1, int((part != PADDING).sum(axis=1).max()))] for part in parts]


def _parameter_groups(network: SequenceNetwork, phase: PhaseSettings, ordered: bool) -> list[dict[str, Any]]:
    """The transformer's matrices decay; item vectors and pools do not. Alone they train without it."""
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
        {"params": rest, "lr": rate, "weight_decay": 0.0},
    ]


def _rate(step: int, total_steps: int) -> float:
    warm_up = min(1.0, (step + 1) / min(_WARM_UP_STEPS, total_steps))
    done = min(1.0, step / max(1, total_steps))
    return warm_up * (_LAST_RATE + (1.0 - _LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * done)))
