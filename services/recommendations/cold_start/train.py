"""Training the cold-start model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.cold_start.assessment import assess, held_out_cases
from services.recommendations.cold_start.blend import fit_blend
from services.recommendations.cold_start.canonical_basis import early_interactions, fit_basis
from services.recommendations.cold_start.hierarchy import Scales, SegmentStatistics, segment_statistics
from services.recommendations.cold_start.model import Blend, ColdStartModel
from services.recommendations.cold_start.popularity import LanguagePopularity
from services.recommendations.cold_start.predictive import coverage, fit_interval_widths, gaussian_widths
from services.recommendations.cold_start.prior import SegmentPrior
from services.recommendations.cold_start.segments import SegmentDesign
from services.recommendations.contracts.candidates import Segment
from services.recommendations.contracts.stages import MODEL_NAMES, SLOTS
from services.recommendations.item_index.index import ItemIndex
from services.recommendations.training.checks import check_columns
from services.recommendations.training.histories import user_states
from services.recommendations.training.input import TrainingInput, settings_fingerprint
from streamrec.contracts.errors import InvalidInputError, NotReadyError
from streamrec.contracts.models import ModelRef, ModelSignature, ModelSpec, TensorSpec

MINIMUM_USERS: Final = 2
"""A variance between users needs two of them."""


@dataclass(frozen=True)
class ColdStartSettings:
    """How the cold-start model is fitted.

    Attributes:
        hierarchy_dimensions: Leading canonical coordinates that carry segment effects.
        early_interactions: A training user's first interactions that the hierarchy is fitted on.
        minimum_segment_users: An attribute value with fewer training users has no effect of its own.
        maximum_levels: Most values of one attribute that have an effect; bounds the cost of a step.
        chains, tune, draws, target_accept: Of NUTS.
        exploration: See `Blend`. 0.3 of the standard deviation is about a tenth of the variance.
        pseudo_interactions: Weight of everybody's popularity in a language's own, in interactions.
        minimum_language_interactions: A user language with fewer has everybody's popularity.
        maximum_languages: Most user languages with a popularity of their own.
        blend_users: Users whose validation items the blend is fitted on.
        blend_pool: Most popular items that the validation item is ranked among.
        assessed_users: Users whose test items the reported metrics come from.
    """

    hierarchy_dimensions: int = 8
    early_interactions: int = 5
    minimum_segment_users: int = 5
    maximum_levels: int = 24
    chains: int = 4
    tune: int = 500
    draws: int = 750
    target_accept: float = 0.8
    exploration: float = 0.3
    pseudo_interactions: float = 2000.0
    minimum_language_interactions: int = 500
    maximum_languages: int = 64
    blend_users: int = 400
    blend_pool: int = 2000
    assessed_users: int = 1000

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name not in ("exploration", "target_accept") and value < 1:
                raise InvalidInputError(f"cold_start.{name}", "must be 1 or more")
        if not 0.0 <= self.exploration <= 1.0:
            raise InvalidInputError("cold_start.exploration", "must be in 0..1")
        if not 0.0 < self.target_accept < 1.0:
            raise InvalidInputError("cold_start.target_accept", "must be between 0 and 1")


def train(
    training: TrainingInput,
    settings: ColdStartSettings,
    output: Path,
    *,
    index: ItemIndex,
    retrieval: ModelRef | None,
) -> ModelSpec:
    """Fit prior and blend in the space of ``index`` and write the artifact into ``output``.

    The prior comes from training interactions, the three weights of the blend from validation items, the
    reported metrics from test items, with histories cut to 0..5 interactions.

    Args:
        training: Data, split, seed and progress.
        settings: How to fit.
        output: Folder for the artifact.
        index: Items and vectors of the retrieval model.
        retrieval: Its version, for lineage.

    Raises:
        DataFolderError: The data holds a value that is not one; names the column.
        NotReadyError: Fewer than `MINIMUM_USERS` users have an interaction with an item of the index.
        UnreliablePosteriorError: The sampler's diagnostics are bad. Nothing was written.
    """
    check_columns(training.dataset)
    split = training.split
    row_of = index.row_of
    # The index may order its rows otherwise than the catalogue; -1 where it lacks the item.
    index_row = np.array([row_of.get(item, -1) for item in split.catalogue.item_ids], dtype=np.int64)
    segments = [user.segment for user in user_states(training.dataset, split.train)]
    histories = [rows[rows >= 0] for rows in (index_row[split.train.of(u)] for u in range(len(split.train)))]
    active = [user for user, rows in enumerate(histories) if len(rows)]
    if len(active) < MINIMUM_USERS:
        raise NotReadyError(
            f"cold start needs at least {MINIMUM_USERS} users with an interaction to learn how users differ; "
            f"the training data has {len(active)}"
        )
    segments, histories = [segments[user] for user in active], [histories[user] for user in active]
    model, metrics = _fit(training, settings, index, segments, histories)
    model = _with_blend(training, settings, model)
    test = held_out_cases(training.dataset, split, index, settings.assessed_users, under_test=True)
    training.progress.start("cold start: assessing", 1)
    metrics |= assess(model, test, list(zip(segments, histories, strict=True)))
    for point in coverage(model, test, rng=np.random.default_rng(training.seed)):
        metrics[f"coverage_{100.0 * point.nominal:.0f}"] = point.empirical.value
    training.progress.advance()
    training.progress.finish(f"NDCG@10 {metrics.get('ndcg@10', 0.0):.4f}")
    model.save(output)
    return ModelSpec(
        name=MODEL_NAMES["cold_start"],
        slot=SLOTS["cold_start"],
        signature=ModelSignature(
            inputs=(TensorSpec("item_vectors", "float32", (-1, index.dimension)),),
            outputs=(TensorSpec("scores", "float32", (-1,)),),
        ),
        data_fingerprint=training.dataset.fingerprint,
        settings_fingerprint=settings_fingerprint(settings, training.seed),
        metrics=metrics,
        parameters=asdict(settings),
        depends_on={"retrieval": retrieval} if retrieval is not None else {},
    )


def _fit(
    training: TrainingInput,
    settings: ColdStartSettings,
    index: ItemIndex,
    segments: list[Segment],
    histories: list[NDArray[np.int64]],
) -> tuple[ColdStartModel, dict[str, float]]:
    """Basis, prior and popularity from the training users; blend and interval widths are first guesses."""
    design = SegmentDesign.from_segments(
        segments, minimum_users=settings.minimum_segment_users, maximum_levels=settings.maximum_levels
    )
    early = early_interactions([rows[: settings.early_interactions] for rows in histories], index.vectors)
    basis = fit_basis(early)
    used, compact = np.unique(design.attribute_of_column, return_inverse=True)
    leading = basis.to_canonical[:, : min(settings.hierarchy_dimensions, index.dimension)]
    statistics = segment_statistics(early, leading, design.matrix(segments), compact, len(used))
    draws, metrics = _sample(training, settings, statistics)
    prior, basis = SegmentPrior.from_draws(design, basis, statistics, draws)
    languages = np.repeat([segment.language for segment in segments], [len(rows) for rows in histories])
    popularity = LanguagePopularity.from_interactions(
        np.concatenate(histories),
        [str(language) for language in languages],
        len(index),
        pseudo_interactions=settings.pseudo_interactions,
        minimum_interactions=settings.minimum_language_interactions,
        maximum_languages=settings.maximum_languages,
    )
    blend = Blend(segment_weight=0.1, taste_weight=0.3, click_weight=1.0, exploration=settings.exploration)
    widths = gaussian_widths(index.dimension)
    return ColdStartModel(index, basis, prior, popularity, blend, widths), metrics


def _sample(
    training: TrainingInput, settings: ColdStartSettings, statistics: SegmentStatistics
) -> tuple[Sequence[Scales], dict[str, float]]:
    """Sample the hierarchy; once more with twice the draws if the first run cannot be trusted."""
    # Imported here: a replica that serves the model has no PyMC.
    from services.recommendations.cold_start.pymc_fit import (
        SamplerSettings,
        UnreliablePosteriorError,
        sample_scales,
    )

    sampler = SamplerSettings(settings.chains, settings.tune, settings.draws, settings.target_accept)
    longer = SamplerSettings(
        settings.chains, 2 * settings.tune, 2 * settings.draws, (1.0 + settings.target_accept) / 2.0
    )
    for attempt, run in enumerate((sampler, longer)):
        steps = run.chains * (run.tune + run.draws)
        training.progress.start("cold start: sampling the segment hierarchy", steps)
        draws, diagnostics = sample_scales(
            statistics, run, training.seed + attempt, training.progress.advance
        )
        training.progress.finish(f"R-hat {diagnostics.maximum_r_hat:.3f}")
        if diagnostics.reliable:
            return draws, {
                "divergences": float(diagnostics.divergences),
                "maximum_r_hat": diagnostics.maximum_r_hat,
                "minimum_effective_samples": diagnostics.minimum_effective_samples,
            }
    raise UnreliablePosteriorError(diagnostics)


def _with_blend(
    training: TrainingInput, settings: ColdStartSettings, model: ColdStartModel
) -> ColdStartModel:
    cases = held_out_cases(
        training.dataset, training.split, model.index, settings.blend_users, under_test=False
    )
    if not cases.users:
        return model
    training.progress.start("cold start: fitting the blend", 1)
    rng = np.random.default_rng(training.seed)
    blend = fit_blend(model, cases, pool=settings.blend_pool, rng=rng)
    training.progress.advance()
    training.progress.finish(
        f"weight of the segment {blend.segment_weight:g}, of taste {blend.taste_weight:g}"
    )
    model = replace(model, blend=blend)
    return replace(model, interval_widths=fit_interval_widths(model, cases))
