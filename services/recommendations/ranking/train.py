"""Training the ranker on the train part of a split.

In this order, each from what came before:

1. The newest few train items of every user are held out from everything below but the last step.
2. The network is fitted on the rest, first the pools and then all of it, each stopping by its NDCG on the
   validation items.
3. The candidate tables are counted on the rest; the weights of the score are fitted on the held-out items.
4. The tables are counted again on all train items: serving knows the newest transitions too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Segment
from services.recommendations.ranking.candidate_features import FEATURES, CandidateTables
from services.recommendations.ranking.catalogue_ranker import RankerAsCatalogueRanker
from services.recommendations.ranking.checkpoints import Checkpoints
from services.recommendations.ranking.combination import (
    LOGITS,
    Combination,
    choices,
    fit_combination,
    held_out_counts,
    without_newest,
)
from services.recommendations.ranking.content import ContentTable
from services.recommendations.ranking.full_ranking import SIGNATURE
from services.recommendations.ranking.model import RankingModel
from services.recommendations.ranking.network import SequenceNetwork
from services.recommendations.ranking.optimisation import EpochFigures, NetworkTraining
from services.recommendations.ranking.segments import SegmentTable
from services.recommendations.ranking.settings import RankingSettings
from services.recommendations.ranking.validation import NetworkValidation
from services.recommendations.training.checks import check_columns, check_features
from services.recommendations.training.held_out_metrics import held_out_metrics
from services.recommendations.training.histories import segments_by_user
from services.recommendations.training.input import (
    RANKING_TEACHER,
    TRAINED_MODEL_NAMES,
    TrainingInput,
    settings_fingerprint,
)
from services.recommendations.training.known_rejections import KnownRejections
from services.recommendations.training.reproducible import reproducible_operations
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.models import ModelSpec

__all__ = ["LEARNING_CURVE_FILE", "RankingSettings", "train"]

LEARNING_CURVE_FILE: Final = "learning_curve.json"
"""Beside the model: one object per epoch, the fields of `EpochFigures`."""

_EVALUATED_USERS: Final = 1000
"""Most users that the figures of the registered version are measured on; the full report measures all."""


def train(training: TrainingInput, settings: RankingSettings, output: Path) -> ModelSpec:
    """Train the ranker and write its artifact into ``output``.

    The same seed on the same machine gives the same model, bit for bit, where torch has one thread, also when
    the run was killed in between: it goes on from its last checkpoint. That stays until the caller has put
    the artifact into safety and calls `clear_checkpoints`.

    Raises:
        DataFolderError: A column that the ranker reads holds a value that is not one; names the column.
        InvalidInputError: No user to validate on, or a feature came out as not finite; names the feature.
        PermanentError: The loss stopped being finite.
    """
    check_columns(training.dataset)
    if training.split.evaluated.size == 0:
        raise InvalidInputError("split", "no user has enough interactions to validate the ranker on")
    segments = segments_by_user(training.dataset)
    device = training_device(training.device)
    identity = f"{settings_fingerprint(settings, training.seed)} {training.dataset.fingerprint}"
    checkpoints = None if training.checkpoints is None else Checkpoints(training.checkpoints, identity)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(training.seed)
        with reproducible_operations(device):
            model, learning = _fit(training, settings, segments, device, checkpoints)
    model.save(output)
    _write_learning_curve(learning.curve, output)
    return ModelSpec(
        name=TRAINED_MODEL_NAMES[RANKING_TEACHER],
        signature=SIGNATURE,
        data_fingerprint=training.dataset.fingerprint,
        settings_fingerprint=settings_fingerprint(settings, training.seed),
        metrics=held_out_metrics(
            RankerAsCatalogueRanker(model, segments), training, "ranker", _EVALUATED_USERS
        ),
        parameters={
            **asdict(settings),
            "seed": training.seed,
            "best_epochs": learning.best_epochs,
            "weights": dict(
                zip((*LOGITS, *FEATURES), model.combination.weights.round(4).tolist(), strict=True)
            ),
        },
    )


def clear_checkpoints(folder: Path) -> None:
    """Remove the checkpoint of a run whose artifact is safe."""
    Checkpoints(folder, "").clear()


def training_device(name: str) -> torch.device:
    """Return the device of that name.

    Raises:
        InvalidInputError: There is no such device here.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidInputError(
            "device", f"{name!r} cannot be used here ({str(error).splitlines()[0]}); train on cpu"
        ) from error
    return device


def _write_learning_curve(curve: Sequence[EpochFigures], output: Path) -> None:
    points = [asdict(point) for point in curve]
    (output / LEARNING_CURVE_FILE).write_text(json.dumps(points, indent=1) + "\n")


def _fit(
    training: TrainingInput,
    settings: RankingSettings,
    segments: dict[str, Segment],
    device: torch.device,
    checkpoints: Checkpoints | None,
) -> tuple[RankingModel, NetworkTraining]:
    split, catalogue = training.split, training.split.catalogue
    rng = np.random.default_rng(training.seed)
    held_out = held_out_counts(split.train.lengths, settings.combination)
    rest = without_newest(split.train, held_out)
    user_segments = [segments.get(user_id, Segment()) for user_id in split.train.user_ids]
    segment_table = SegmentTable.of(user_segments)
    segment_rows = segment_table.rows(user_segments)
    network = SequenceNetwork(
        ContentTable.of(catalogue, settings.network.minimum_feature_count),
        np.bincount(rest.items, minlength=len(catalogue)),
        segment_table.sizes,
        settings.network,
    ).to(device)
    validate = NetworkValidation.of(training.split, segment_rows, settings, rng)

    learning = NetworkTraining(
        network,
        rest,
        segment_rows,
        settings.optimisation,
        history_length=settings.network.history_length,
        validate=validate,
        rng=rng,
        progress=training.progress,
        checkpoints=checkpoints,
        rejections=KnownRejections.of(training.dataset, rest, settings.optimisation.rejections),
    )
    learning.fit_pools()
    learning.fit_jointly()
    network.cpu()
    unweighted = RankingModel.of(
        catalogue.item_ids,
        settings.network,
        network,
        segment_table,
        CandidateTables.fit(rest, catalogue, settings.features),
        Combination.network_alone(len(FEATURES)),
    )
    combination = _weigh(unweighted, held_out, training, settings, segments, rng)
    model = RankingModel.of(
        catalogue.item_ids,
        settings.network,
        network,
        segment_table,
        CandidateTables.fit(split.train, catalogue, settings.features),
        combination,
    )
    return model, learning


def _weigh(
    model: RankingModel,
    held_out: NDArray[np.int64],
    training: TrainingInput,
    settings: RankingSettings,
    segments: dict[str, Segment],
    rng: np.random.Generator,
) -> Combination:
    """Fit the weights of the score on the held-out items."""
    train_sequences = training.split.train
    expected = min(int(held_out.sum()), settings.combination.maximum_examples)
    width = 1 + settings.combination.negative_count
    inputs = np.zeros((expected, width, len(LOGITS) + len(FEATURES)), dtype=np.float32)
    log_counts = np.zeros((expected, width), dtype=np.float32)
    sizes = np.zeros(expected, dtype=np.int64)
    user_segments = [segments.get(user_id, Segment()) for user_id in train_sequences.user_ids]
    every = np.arange(len(model.item_ids))
    rejections = KnownRejections.of(training.dataset, train_sequences, settings.optimisation.rejections)

    def strengths(user: int, history: NDArray[np.int64]) -> NDArray[np.float32]:
        logits = model.logits(history, user_segments[user], every)
        return logits[:, 0] + logits[:, 1]

    training.progress.start("ranker: candidate features", expected)
    made = 0
    for choice in choices(train_sequences, held_out, strengths, settings.combination, rng, rejections):
        segment, size = user_segments[choice.user], len(choice.candidates)
        inputs[made, :size, : len(LOGITS)] = model.logits(choice.history, segment, choice.candidates)
        inputs[made, :size, len(LOGITS) :] = model.tables.features(choice.history, segment, choice.candidates)
        log_counts[made, :size] = choice.log_counts
        sizes[made] = size
        made += 1
        training.progress.advance()
    inputs = inputs[:made]
    check_features((*LOGITS, *FEATURES), inputs)
    combination = fit_combination(inputs, log_counts[:made], sizes[:made], settings.combination.l2)
    training.progress.finish(note=f"weights fitted on {made} held-out items")
    return combination
