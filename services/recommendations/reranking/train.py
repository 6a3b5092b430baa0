"""Fitting the re-ranker on what the ranker would have shown to validation users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.reranking.price_fit import STAGES, fit_prices, fit_temperature
from services.recommendations.training_input import MODEL_NAMES, TrainingInput, settings_fingerprint
from services.recommendations.types import UNKNOWN, Candidates, UserState
from streamrec.contracts.errors import InvalidInputError, NotReadyError
from streamrec.contracts.models import ModelSignature, ModelSpec, TensorSpec


@dataclass(frozen=True)
class RerankingSettings:
    """How the re-ranker is fitted and how it serves.

    Attributes:
        target_gini: Creator-language exposure Gini to reach.
        maximum_relevance_loss: Largest share of NDCG@10 that it may cost.
        diversity_weight: Factor on the fitted prices at serving.
        latency_budget_ms: Time that one request's re-ranking may take.
        fallback_mode: Whether late requests skip it.
        slate_length: Items shown.
        exploration_share: Most of a slate that may be lifted in languages the user does not consume.
        fit_users: Most validation users that prices are fitted on.
    """

    target_gini: float = 0.30
    maximum_relevance_loss: float = 0.02
    diversity_weight: float = 1.0
    latency_budget_ms: float = 15.0
    fallback_mode: bool = True
    slate_length: int = 10
    exploration_share: float = 0.1
    fit_users: int = 500

    def __post_init__(self) -> None:
        if self.fit_users < 1:
            raise InvalidInputError("reranking.fit_users", "must be 1 or more")
        if not 0.0 <= self.maximum_relevance_loss <= 1.0:
            raise InvalidInputError("reranking.maximum_relevance_loss", "must be in 0..1")


def train(
    training: TrainingInput,
    settings: RerankingSettings,
    output: Path,
    *,
    ranked: Sequence[tuple[UserState, Candidates]],
    held_out: Sequence[str],
) -> ModelSpec:
    """Fit the ranker's calibration and the language prices, and write the artifact into ``output``.

    Args:
        training: Data, split, seed and progress.
        settings: How to fit.
        output: Folder for the artifact.
        ranked: Validation users, and the ranker's lists for them.
        held_out: The item that each of them took up next.

    Raises:
        InvalidInputError: ``ranked`` and ``held_out`` differ in length, or a setting is out of range.
        NotReadyError: No list holds a candidate.
    """
    if len(ranked) != len(held_out):
        raise InvalidInputError("held_out", f"{len(held_out)} items for {len(ranked)} ranked lists")
    chosen = [position for position, (_, candidates) in enumerate(ranked) if len(candidates) > 0]
    if not chosen:
        raise NotReadyError("re-ranking is fitted on ranked candidates, and there are none: train the ranker")
    if len(chosen) > settings.fit_users:
        spread = np.linspace(0, len(chosen) - 1, settings.fit_users).astype(int)
        chosen = [chosen[position] for position in spread]
    users = [ranked[position][0] for position in chosen]
    lists = [ranked[position][1] for position in chosen]
    places = [
        candidates.item_ids.index(held_out[position]) if held_out[position] in candidates.item_ids else -1
        for position, candidates in zip(chosen, lists, strict=True)
    ]
    catalogue = training.split.catalogue
    language_of = dict(zip(catalogue.item_ids, catalogue.creator_languages, strict=True))
    temperature = fit_temperature([candidates.scores for candidates in lists], places)

    def reranker(prices: dict[str, float]) -> DiversityReranker:
        return DiversityReranker(
            target_gini=settings.target_gini,
            latency_budget_ms=settings.latency_budget_ms,
            diversity_weight=settings.diversity_weight,
            fallback_mode=settings.fallback_mode,
            language_of=language_of,
            language_prices=prices,
            temperature=temperature,
            slate_length=settings.slate_length,
            exploration_share=settings.exploration_share,
        )

    unpriced = reranker({})
    known = np.array([language != UNKNOWN for language in unpriced.languages])
    training.progress.start("re-ranking: fitting language prices", STAGES)
    fit = fit_prices(
        [unpriced.request(candidates, user) for user, candidates in zip(users, lists, strict=True)],
        places,
        # A catalogue without any language has one group, "unknown", and nothing to balance.
        counted=np.append(known if known.any() else ~known, False),
        target_gini=settings.target_gini,
        maximum_loss=settings.maximum_relevance_loss,
        diversity_weight=settings.diversity_weight,
        slate_length=settings.slate_length,
        exploration_slots=unpriced.exploration_slots(settings.slate_length),
        advance=training.progress.advance,
    )
    loss = fit.after.loss_from(fit.before)
    training.progress.finish(
        f"exposure Gini {fit.before.gini:.3f} -> {fit.after.gini:.3f}, relevance loss {loss:.2%}"
    )
    reranker(dict(zip(unpriced.languages, fit.prices.tolist(), strict=False))).save(output)
    return ModelSpec(
        name=MODEL_NAMES["reranking"],
        signature=ModelSignature(
            inputs=(TensorSpec("scores", "float32", (-1,)),), outputs=(TensorSpec("order", "int64", (-1,)),)
        ),
        data_fingerprint=training.dataset.fingerprint,
        settings_fingerprint=settings_fingerprint(settings, training.seed),
        metrics={
            "exposure_gini_before": fit.before.gini,
            "exposure_gini": fit.after.gini,
            "target_gini_reached": float(fit.after.gini <= settings.target_gini),
            "relevance_loss": loss,
            "held_out_ndcg@10_before": fit.before.held_out_ndcg,
            "held_out_ndcg@10": fit.after.held_out_ndcg,
            "expected_ndcg@10_before": fit.before.expected_ndcg,
            "expected_ndcg@10": fit.after.expected_ndcg,
            "temperature": temperature,
        },
        parameters=asdict(settings),
    )
