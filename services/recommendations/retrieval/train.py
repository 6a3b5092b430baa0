"""Training the two-tower model on the train part of a split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import CANDIDATE_COUNT, Segment
from services.recommendations.contracts.stages import MODEL_NAMES, SLOTS
from services.recommendations.item_index.index import ItemIndex
from services.recommendations.retrieval.batches import Batches
from services.recommendations.retrieval.catalogue_ranker import RetrieverAsCatalogueRanker
from services.recommendations.retrieval.content import ContentVocabulary
from services.recommendations.retrieval.examples import NextItemExamples
from services.recommendations.retrieval.hard_negatives import HardNegatives
from services.recommendations.retrieval.model import SEGMENT_ATTRIBUTES, TwoTowerRetriever, segment_values
from services.recommendations.retrieval.settings import RetrievalSettings
from services.recommendations.retrieval.towers import TwoTowers
from services.recommendations.training.checks import check_columns
from services.recommendations.training.held_out_metrics import held_out_metrics
from services.recommendations.training.histories import segments_by_user
from services.recommendations.training.input import TrainingInput, settings_fingerprint
from services.recommendations.training.reproducible import reproducible_operations
from streamrec.contracts.errors import PermanentError
from streamrec.contracts.models import ModelSignature, ModelSpec, TensorSpec
from streamrec.training.evaluation import evaluate
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
    The same seed on the same machine gives the same model, bit for bit, where torch has one thread.

    Raises:
        DataFolderError: The data holds a value that is not one; names the column.
        InvalidInputError: The split has no train interactions or no user to validate on.
        PermanentError: The loss stopped being finite.
    """
    check_columns(training.dataset)
    segments = segments_by_user(training.dataset)
    with reproducible_operations():
        best, epochs = _fit(training, settings, segments)
    best.save(output)
    ranker = RetrieverAsCatalogueRanker(best, training.split.catalogue, segments)
    return ModelSpec(
        name=MODEL_NAMES["retrieval"],
        slot=SLOTS["retrieval"],
        signature=_signature(settings),
        data_fingerprint=training.dataset.fingerprint,
        settings_fingerprint=settings_fingerprint(settings, training.seed),
        metrics=held_out_metrics(ranker, training, "retriever", settings.validation_users),
        parameters={**asdict(settings), "seed": training.seed, "best_epoch": epochs},
    )


def _fit(
    training: TrainingInput, settings: RetrievalSettings, segments: dict[str, Segment]
) -> tuple[TwoTowerRetriever, int]:
    """Return the best epoch's model and that epoch's number, counted from 1."""
    catalogue, train_sequences = training.split.catalogue, training.split.train
    generator = torch.Generator().manual_seed(training.seed)
    rng = np.random.default_rng(training.seed)
    examples = NextItemExamples.of(train_sequences)
    vocabulary = ContentVocabulary.build(catalogue, settings.minimum_feature_count)
    user_segments = [segments.get(user, Segment()) for user in train_sequences.user_ids]
    values = segment_values(user_segments)
    towers = TwoTowers(vocabulary.encode(catalogue), vocabulary, values, settings, generator)
    batches = Batches(
        examples=examples,
        segments=_segment_rows(user_segments, values),
        item_count=len(catalogue),
        settings=settings,
        generator=generator,
        rng=rng,
        hard_negatives=HardNegatives.none(
            len(train_sequences), settings.hard_negative_window, settings.hard_negative_count
        ),
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
        result = evaluate(
            RetrieverAsCatalogueRanker(retriever, catalogue, segments),
            training.split,
            seed=training.seed,
            on="validation",
            max_users=settings.validation_users,
            resamples=200,
        )
        ndcg = float(ndcg_at(result.ranks, LIST_LENGTH).mean())
        if best is None or ndcg > best[0]:
            best = (ndcg, retriever, epoch)
        training.progress.advance(
            0, note=f"epoch {epoch}, loss {np.mean(losses):.3f}, validation NDCG@{LIST_LENGTH} {ndcg:.4f}"
        )
        if epoch - best[2] >= settings.patience:
            break
        if settings.hard_negative_count and epoch < settings.epoch_count:
            batches.hard_negatives = HardNegatives.mine(
                retriever,
                train_sequences,
                user_segments,
                width=settings.hard_negative_window,
                count=settings.hard_negative_count,
                maximum_users=settings.maximum_mined_users,
                rng=rng,
            )
    assert best is not None  # noqa: S101  (epoch_count is 1 or more)
    training.progress.finish(note=f"best epoch {best[2]}, validation NDCG@{LIST_LENGTH} {best[0]:.4f}")
    return best[1], best[2]


def _segment_rows(segments: Sequence[Segment], values: Mapping[str, tuple[str, ...]]) -> NDArray[np.int64]:
    """Shape (users, attributes): row of each attribute's table, -1 where unknown."""
    row_of = {name: {value: row for row, value in enumerate(values[name])} for name in SEGMENT_ATTRIBUTES}
    rows = [
        [row_of[name].get(getattr(segment, name), -1) for name in SEGMENT_ATTRIBUTES] for segment in segments
    ]
    return np.array(rows, dtype=np.int64)


def _rate(step: int, step_count: int) -> float:
    warm_up = min(1.0, (step + 1) / min(_WARM_UP_STEPS, step_count))
    return warm_up * (_LAST_RATE + (1.0 - _LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * step / step_count)))


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
