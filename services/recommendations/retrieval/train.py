"""Training the two-tower model on the train part of a split."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.recommendations.item_index import ItemIndex
from services.recommendations.retrieval.content import ContentVocabulary
from services.recommendations.retrieval.examples import NextItemExamples
from services.recommendations.retrieval.model import SEGMENT_ATTRIBUTES, TwoTowerRetriever, segment_values
from services.recommendations.retrieval.settings import RetrievalSettings
from services.recommendations.retrieval.top_items import RetrieverTopItems
from services.recommendations.retrieval.towers import TwoTowers, sampled_softmax_loss
from services.recommendations.training_input import MODEL_NAMES, TrainingInput, settings_fingerprint
from services.recommendations.types import CANDIDATE_COUNT, Segment
from services.recommendations.user_states import segments_by_user
from streamrec.contracts.errors import PermanentError
from streamrec.contracts.models import ModelSignature, ModelSpec, TensorSpec
from streamrec.training.evaluation import HeldOut, ModelEvaluation, evaluate
from streamrec.training.ranking_metrics import LIST_LENGTH, ndcg_at

__all__ = ["RetrievalSettings", "train"]

_WARM_UP_STEPS: Final = 50
_LAST_RATE: Final = 0.05
"""The learning rate at the end of training, relative to its peak."""
_STEPS_PER_NOTE: Final = 10


def train(training: TrainingInput, settings: RetrievalSettings, output: Path) -> ModelSpec:
    """Train, keep the epoch with the best validation metric, and write the artifact into ``output``.

    The metric is the mean NDCG over the whole list of 500 candidates on the validation items: it moves with
    the share of items found and with their order, and so is less noisy than Hit@10 or Recall@500 alone.
    The same seed on the same machine gives the same model.

    Raises:
        InvalidInputError: The split has no train interactions or no user to validate on.
        PermanentError: The loss stopped being finite.
    """
    segments = segments_by_user(training.dataset)
    best, epochs = _fit(training, settings, segments)
    best.save(output)
    metrics: dict[str, float] = {}
    for on in ("validation", "test"):
        result = _evaluate(best, training, segments, settings, on)
        for metric, interval in result.metrics.items():
            metrics[f"{on}_{metric.replace('@', '_at_')}"] = interval.value
    return ModelSpec(
        name=MODEL_NAMES["retrieval"],
        signature=_signature(settings),
        data_fingerprint=training.dataset.fingerprint,
        settings_fingerprint=settings_fingerprint(settings, training.seed),
        metrics=metrics,
        parameters={**asdict(settings), "seed": training.seed, "best_epoch": epochs},
    )


def _fit(
    training: TrainingInput, settings: RetrievalSettings, segments: dict[str, Segment]
) -> tuple[TwoTowerRetriever, int]:
    """Return the best epoch's model and that epoch's number, counted from 1."""
    catalogue = training.split.catalogue
    generator = torch.Generator().manual_seed(training.seed)
    examples = NextItemExamples.of(training.split.train)
    vocabulary = ContentVocabulary.build(catalogue, settings.minimum_feature_count)
    values = segment_values([segments.get(user, Segment()) for user in training.split.train.user_ids])
    towers = TwoTowers(vocabulary.encode(catalogue), vocabulary, values, settings, generator)
    batches = _Batches(
        examples=examples,
        segments=_segment_rows(training, segments, values),
        log_expected_counts=_log_expected_counts(examples, len(catalogue), settings),
        item_count=len(catalogue),
        settings=settings,
        generator=generator,
        rng=np.random.default_rng(training.seed),
    )
    optimiser = torch.optim.Adam(towers.parameters(), lr=settings.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: _rate(step, batches.steps_per_epoch * settings.epoch_count)
    )
    best: tuple[float, TwoTowerRetriever, int] | None = None
    training.progress.start("two-tower retrieval", batches.steps_per_epoch * settings.epoch_count)
    for epoch in range(1, settings.epoch_count + 1):
        losses = []
        for step, loss in enumerate(batches.losses(towers), start=1):
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
            note = f"epoch {epoch}, loss {losses[-1]:.3f}" if step % _STEPS_PER_NOTE == 0 else ""
            training.progress.advance(note=note)
        if not np.isfinite(losses).all():
            raise PermanentError(f"the loss of epoch {epoch} is not finite; lower retrieval.learning_rate")
        weights, vectors = towers.export()
        retriever = TwoTowerRetriever(weights, ItemIndex.build(catalogue.item_ids, vectors, settings.index))
        result = _evaluate(retriever, training, segments, settings, "validation")
        ndcg = float(ndcg_at(result.ranks, LIST_LENGTH).mean())
        if best is None or ndcg > best[0]:
            best = (ndcg, retriever, epoch)
        training.progress.advance(
            0, note=f"epoch {epoch}, loss {np.mean(losses):.3f}, validation NDCG@{LIST_LENGTH} {ndcg:.4f}"
        )
        if epoch - best[2] >= settings.patience:
            break
    assert best is not None  # noqa: S101  (epoch_count is 1 or more)
    training.progress.finish(note=f"best epoch {best[2]}, validation NDCG@{LIST_LENGTH} {best[0]:.4f}")
    return best[1], best[2]


@dataclass
class _Batches:
    """Draws examples and negatives, and computes each step's loss."""

    examples: NextItemExamples
    segments: NDArray[np.int64]
    log_expected_counts: Tensor
    item_count: int
    settings: RetrievalSettings
    generator: torch.Generator
    rng: np.random.Generator

    @property
    def batch_size(self) -> int:
        return min(self.settings.batch_size, len(self.examples))

    @property
    def steps_per_epoch(self) -> int:
        return min(len(self.examples), self.settings.maximum_examples_per_epoch) // self.batch_size or 1

    def losses(self, towers: TwoTowers) -> Iterator[Tensor]:
        """One epoch."""
        order = self.rng.permutation(len(self.examples))
        for step in range(self.steps_per_epoch):
            yield self._loss(towers, order[step * self.batch_size : (step + 1) * self.batch_size])

    def _loss(self, towers: TwoTowers, chosen: NDArray[np.int64]) -> Tensor:
        settings = self.settings
        history = torch.from_numpy(self.examples.histories(chosen, settings.history_length))
        targets = torch.from_numpy(self.examples.items[chosen])
        negatives = torch.randint(
            self.item_count, (settings.uniform_negative_count,), generator=self.generator
        )
        candidates = torch.cat([targets, negatives])
        present = history >= 0
        # The item tower runs once for each item of the step, wherever and however often it occurs.
        rows, places = torch.unique(
            torch.cat([candidates, history.clamp(min=0).flatten()]), return_inverse=True
        )
        candidate_places = places[: len(candidates)]
        history_places = places[len(candidates) :].view(history.shape)
        has_id = torch.rand(len(rows), 1, generator=self.generator) >= settings.item_dropout
        vectors = towers.item_vectors(rows, has_id.float())
        kept = torch.rand(history.shape, generator=self.generator) >= settings.history_dropout
        kept[:, 0] = True
        users = towers.user_vectors(
            vectors.index_select(0, history_places.flatten()).view(*history.shape, -1),
            (present & kept).float(),
            torch.from_numpy(self.segments[self.examples.users[chosen]]),
        )
        # Seen items are filtered from every answer, so a user should not pay for liking them.
        not_negative = torch.zeros(len(targets), len(rows) + 1, dtype=torch.bool)
        not_negative.scatter_(1, torch.where(present, history_places, len(rows)), value=True)
        own = torch.arange(len(targets))
        not_negative[own, candidate_places[own]] = True
        return sampled_softmax_loss(
            users,
            vectors.index_select(0, candidate_places),
            self.log_expected_counts[candidates],
            not_negative[:, candidate_places],
            settings.temperature,
        )


def _log_expected_counts(examples: NextItemExamples, item_count: int, settings: RetrievalSettings) -> Tensor:
    """Shape (items,): log of how often an item is expected among one target's negatives."""
    others = min(settings.batch_size, len(examples)) - 1
    expected = others * examples.target_shares(item_count) + settings.uniform_negative_count / item_count
    # Without uniform negatives an item that is never a target is never a negative either.
    return torch.from_numpy(np.log(np.maximum(expected, 1e-12)).astype(np.float32))


def _segment_rows(
    training: TrainingInput, segments: dict[str, Segment], values: dict[str, tuple[str, ...]]
) -> NDArray[np.int64]:
    """Shape (users, attributes): row of each attribute's table, -1 where unknown."""
    row_of = {name: {value: row for row, value in enumerate(values[name])} for name in SEGMENT_ATTRIBUTES}
    return np.array(
        [
            [
                row_of[name].get(getattr(segments.get(user, Segment()), name), -1)
                for name in SEGMENT_ATTRIBUTES
            ]
            for user in training.split.train.user_ids
        ],
        dtype=np.int64,
    )


def _rate(step: int, step_count: int) -> float:
    warm_up = min(1.0, (step + 1) / min(_WARM_UP_STEPS, step_count))
    return warm_up * (_LAST_RATE + (1.0 - _LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * step / step_count)))


def _evaluate(
    retriever: TwoTowerRetriever,
    training: TrainingInput,
    segments: dict[str, Segment],
    settings: RetrievalSettings,
    on: HeldOut,
) -> ModelEvaluation:
    model = RetrieverTopItems(retriever, training.split.catalogue, segments)
    return evaluate(
        model, training.split, seed=training.seed, on=on, max_users=settings.validation_users, resamples=200
    )


def _signature(settings: RetrievalSettings) -> ModelSignature:
    return ModelSignature(
        inputs=(
            TensorSpec("history", "str", (-1,)),
            *(TensorSpec(name, "str", (1,)) for name in SEGMENT_ATTRIBUTES),
        ),
        outputs=(
            TensorSpec("user_vector", "float32", (settings.dimension,)),
            TensorSpec("item_ids", "str", (CANDIDATE_COUNT,)),
            TensorSpec("scores", "float32", (CANDIDATE_COUNT,)),
        ),
    )
