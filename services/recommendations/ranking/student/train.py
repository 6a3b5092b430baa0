"""Distilling the student that serves from the ranker that was trained before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import torch

from services.recommendations.contracts.candidates import Segment
from services.recommendations.contracts.stages import MODEL_NAMES, SLOTS
from services.recommendations.ranking.catalogue_ranker import RankerAsCatalogueRanker
from services.recommendations.ranking.full_ranking import SIGNATURE
from services.recommendations.ranking.segments import SegmentTable
from services.recommendations.ranking.student.distillation import distil
from services.recommendations.ranking.student.export import serving_weights
from services.recommendations.ranking.student.features import FeatureScorer, FeatureTables, static_scores
from services.recommendations.ranking.student.labels import Teacher, draw_windows, label
from services.recommendations.ranking.student.model import StudentRanker
from services.recommendations.ranking.student.network import StudentNetwork
from services.recommendations.ranking.student.settings import StudentSettings
from services.recommendations.training.checks import check_columns
from services.recommendations.training.held_out_metrics import HELD_OUT, held_out_metrics
from services.recommendations.training.histories import segments_by_user
from services.recommendations.training.input import TrainingInput, settings_fingerprint
from services.recommendations.training.reproducible import reproducible_operations
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.models import ModelRef, ModelSpec

__all__ = ["StudentSettings", "train"]

_EVALUATED_USERS: Final = 1000
"""Most users that the figures of the registered version are measured on, the same as for the teacher."""


def train(
    training: TrainingInput,
    settings: StudentSettings,
    output: Path,
    *,
    teacher: Teacher,
    teacher_ref: ModelRef,
    teacher_metrics: Mapping[str, float],
) -> ModelSpec:
    """Distil the student from ``teacher`` and write its artifact into ``output``.

    Only train items are looked at: their prefixes are what the teacher scores. The same seed on the same
    machine gives the same model, bit for bit, where torch has one thread.

    Args:
        training: Data, split, seed and progress.
        settings: See `StudentSettings`.
        output: Folder for the artifact.
        teacher: A ranker of the same catalogue.
        teacher_ref: Its registered version.
        teacher_metrics: Its held-out metrics, to compare with.

    Raises:
        DataFolderError: A column holds a value that is not one; names the column.
        InvalidInputError: The teacher was trained on another catalogue, or there is nothing to learn from.
        PermanentError: A score or the loss is not finite.
    """
    check_columns(training.dataset)
    if teacher.item_ids != training.split.catalogue.item_ids:
        raise InvalidInputError("teacher", f"{teacher_ref} was trained on another catalogue; train it again")
    segments = segments_by_user(training.dataset)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        with reproducible_operations():
            model, divergence = distil_student(training, settings, teacher, segments)
    model.save(output)
    metrics = {
        **held_out_metrics(RankerAsCatalogueRanker(model, segments), training, "student", _EVALUATED_USERS),
        "divergence_from_teacher": divergence,
    }
    for on in HELD_OUT:
        teachers = teacher_metrics.get(f"{on}_ndcg_at_10", 0.0)
        if teachers > 0.0:
            metrics[f"{on}_ndcg_at_10_share_of_teacher"] = metrics[f"{on}_ndcg_at_10"] / teachers
    return ModelSpec(
        name=MODEL_NAMES["ranking"],
        slot=SLOTS["ranking"],
        signature=SIGNATURE,
        data_fingerprint=training.dataset.fingerprint,
        settings_fingerprint=settings_fingerprint(settings, training.seed),
        metrics=metrics,
        parameters={**asdict(settings), "seed": training.seed, "teacher": str(teacher_ref)},
    )


def distil_student(
    training: TrainingInput, settings: StudentSettings, teacher: Teacher, segments: Mapping[str, Segment]
) -> tuple[StudentRanker, float]:
    """Return the student, and its mean divergence from the teacher in the last epoch.

    Torch's global generator must be seeded: the first weights come from it.
    """
    train_sequences = training.split.train
    rng = np.random.default_rng(training.seed)
    user_segments = [segments.get(user_id, Segment()) for user_id in train_sequences.user_ids]
    segment_table = SegmentTable.of(user_segments)
    windows = draw_windows(
        train_sequences,
        settings.distillation,
        label_count=settings.distillation.label_count(train_sequences.items.size, len(teacher.item_ids)),
        history_length=settings.network.history_length,
        rng=rng,
    )
    features = FeatureTables.of(teacher.tables, teacher.feature_weights)
    labelled = label(
        teacher,
        train_sequences,
        windows,
        user_segments,
        FeatureScorer(features, settings.network.table_length),
        settings.distillation,
        rng,
        training.progress,
    )
    network = StudentNetwork(
        settings.network,
        teacher.vectors,
        static_scores(teacher.tables, teacher.feature_weights),
        segment_table.sizes,
    )
    divergence = distil(
        network,
        labelled,
        segment_table.rows(user_segments),
        settings.distillation,
        rng,
        training.progress,
    )
    model = StudentRanker(
        teacher.item_ids, settings.network, serving_weights(network), segment_table, features
    )
    return model, divergence
