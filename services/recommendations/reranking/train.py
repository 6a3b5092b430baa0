"""Fitting the re-ranker on what the ranker would have shown to validation users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.contracts.stages import MODEL_NAMES, SLOTS
from services.recommendations.reranking.batch import NOT_A_CANDIDATE, RequestBatch
from services.recommendations.reranking.calibration import Calibration, fit_calibration
from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.reranking.price_fit import BISECTIONS, Traffic, fit_prices
from services.recommendations.training.checks import check_columns, check_features
from services.recommendations.training.input import TrainingInput, settings_fingerprint
from streamrec.contracts.conventions import UNKNOWN
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
        gini_margin: How far below the target prices aim: on other users the Gini comes out a little higher.
        new_user_share: Share of the served requests that come from users with fewer than five interactions.
        fit_users: Most requests that prices are fitted on.
    """

    target_gini: float = 0.30
    maximum_relevance_loss: float = 0.02
    diversity_weight: float = 1.0
    latency_budget_ms: float = 15.0
    fallback_mode: bool = True
    slate_length: int = 10
    exploration_share: float = 0.1
    gini_margin: float = 0.01
    new_user_share: float = 0.3
    fit_users: int = 2000

    def __post_init__(self) -> None:
        if self.fit_users < 1:
            raise InvalidInputError("reranking.fit_users", "must be 1 or more")
        if not 0.0 <= self.maximum_relevance_loss <= 1.0:
            raise InvalidInputError("reranking.maximum_relevance_loss", "must be in 0..1")
        if not 0.0 <= self.new_user_share < 1.0:
            raise InvalidInputError("reranking.new_user_share", "must be in 0..1, below 1")
        if not 0.0 <= self.gini_margin <= self.target_gini:
            raise InvalidInputError("reranking.gini_margin", "must be in 0..target_gini")


def train(
    training: TrainingInput,
    settings: RerankingSettings,
    output: Path,
    *,
    ranked: Sequence[tuple[UserState, Candidates]],
    held_out: Sequence[str],
    weights: Sequence[float] | None = None,
) -> ModelSpec:
    """Fit the calibration and the exposure prices, and write the artifact into ``output``.

    Args:
        training: Data, split, seed and progress.
        settings: How to fit.
        output: Folder for the artifact.
        ranked: Users as they might ask, and the lists that re-ranking would be given for them.
        held_out: The item that each of them took up next.
        weights: How many requests of the real traffic each of them stands for; 1 each where None.

    Raises:
        DataFolderError: The data holds a value that is not one; names the column.
        InvalidInputError: ``ranked``, ``held_out`` and ``weights`` differ in length, a score is not finite,
            or a setting is out of range.
        NotReadyError: No list is longer than the slate: there is nothing to choose from.
    """
    check_columns(training.dataset)
    for _, candidates in ranked:
        check_features(("score",), candidates.scores[:, None])
    catalogue = training.split.catalogue
    language_of = dict(zip(catalogue.item_ids, catalogue.creator_languages, strict=True))

    def reranker(prices: dict[str, float], calibration: Calibration) -> DiversityReranker:
        return DiversityReranker(
            target_gini=settings.target_gini,
            latency_budget_ms=settings.latency_budget_ms,
            diversity_weight=settings.diversity_weight,
            fallback_mode=settings.fallback_mode,
            language_of=language_of,
            exposure_prices=prices,
            calibration=calibration,
            slate_length=settings.slate_length,
            exploration_share=settings.exploration_share,
        )

    sample = _usable(ranked, held_out, weights, settings)
    calibration = fit_calibration(
        [candidates.scores for _, candidates in sample.ranked],
        [len(user.history) for user, _ in sample.ranked],
        sample.places,
        settings.slate_length,
    )
    unpriced = reranker({}, calibration)
    traffic = traffic_of(unpriced, sample.ranked, sample.places, sample.weights)
    training.progress.start("re-ranking: fitting exposure prices", BISECTIONS)
    fit = fit_prices(
        traffic,
        target_gini=settings.target_gini - settings.gini_margin,
        maximum_loss=settings.maximum_relevance_loss,
        advance=training.progress.advance,
    )
    # Where the target was reached for less: how far a controller may go before it costs too much.
    reached = fit.after.gini <= settings.target_gini - settings.gini_margin
    limit = (
        fit_prices(traffic, target_gini=0.0, maximum_loss=settings.maximum_relevance_loss) if reached else fit
    )
    after = traffic.outcome(settings.diversity_weight * fit.prices)
    loss = after.loss_from(fit.before)
    training.progress.finish(
        f"exposure Gini {fit.before.gini:.3f} -> {after.gini:.3f}, relevance loss {loss:.2%}"
    )
    reranker(dict(zip(unpriced.languages, fit.prices.tolist(), strict=False)), calibration).save(output)
    return ModelSpec(
        name=MODEL_NAMES["reranking"],
        slot=SLOTS["reranking"],
        signature=ModelSignature(
            inputs=(TensorSpec("scores", "float32", (-1,)),), outputs=(TensorSpec("order", "int64", (-1,)),)
        ),
        data_fingerprint=training.dataset.fingerprint,
        settings_fingerprint=settings_fingerprint(settings, training.seed),
        metrics={
            "exposure_gini_before": fit.before.gini,
            "exposure_gini": after.gini,
            "target_gini_reached": float(after.gini <= settings.target_gini),
            "relevance_loss": loss,
            "held_out_ndcg@10_before": fit.before.held_out_ndcg,
            "held_out_ndcg@10": after.held_out_ndcg,
            "expected_ndcg@10_before": fit.before.expected_ndcg,
            "expected_ndcg@10": after.expected_ndcg,
            "price_strength": fit.strength,
            "price_strength_limit": limit.strength,
            "calibration_score_weight": calibration.groups[-1].score_weight,
            "calibration_rank_discount": calibration.groups[-1].rank_discount,
            "calibration_tail_discount": calibration.groups[-1].tail_discount,
        },
        parameters=asdict(settings),
    )


def traffic_of(
    reranker: DiversityReranker,
    ranked: Sequence[tuple[UserState, Candidates]],
    places: Sequence[int],
    weights: NDArray[np.float64],
) -> Traffic:
    """Put requests before a re-ranker: what prices are fitted and measured on.

    Args:
        reranker: Says what an item is worth and which language it is in; its prices are not looked at.
        ranked: Users and the lists to be re-ranked, each longer than the slate.
        places: Position of each held-out item among the candidates, or `NOT_A_CANDIDATE`.
        weights: Shape (r,): how many requests each one stands for.
    """
    requests = [reranker.request(candidates, user) for user, candidates in ranked]
    known = np.array([language != UNKNOWN for language in reranker.languages])
    return Traffic(
        batch=RequestBatch.stack(requests, places, reranker.slate_length),
        weights=weights,
        # A catalogue without any language has one group, "unknown", and nothing to balance.
        counted=np.append(known if known.any() else ~known, False),
        exploration_slots=reranker.exploration_slots(reranker.slate_length),
    )


def places_of(ranked: Sequence[tuple[UserState, Candidates]], held_out: Sequence[str]) -> list[int]:
    """Position of each held-out item among its candidates, or `NOT_A_CANDIDATE`."""
    return [
        candidates.item_ids.index(item) if item in candidates.item_ids else NOT_A_CANDIDATE
        for (_, candidates), item in zip(ranked, held_out, strict=True)
    ]


@dataclass(frozen=True)
class _Sample:
    ranked: list[tuple[UserState, Candidates]]
    places: list[int]
    weights: NDArray[np.float64]


def _usable(
    ranked: Sequence[tuple[UserState, Candidates]],
    held_out: Sequence[str],
    weights: Sequence[float] | None,
    settings: RerankingSettings,
) -> _Sample:
    """Requests with something to choose from, at most ``fit_users`` of them, evenly spread."""
    if len(ranked) != len(held_out):
        raise InvalidInputError("held_out", f"{len(held_out)} items for {len(ranked)} ranked lists")
    given = np.ones(len(ranked)) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(given) != len(ranked):
        raise InvalidInputError("weights", f"{len(given)} weights for {len(ranked)} ranked lists")
    chosen = [
        position
        for position, (_, candidates) in enumerate(ranked)
        if len(candidates) > settings.slate_length and given[position] > 0.0
    ]
    if not chosen:
        raise NotReadyError(
            "no ranked list is longer than the slate: there is nothing to re-rank; train the ranker"
        )
    if len(chosen) > settings.fit_users:
        spread = np.linspace(0, len(chosen) - 1, settings.fit_users).astype(int)
        chosen = [chosen[position] for position in spread]
    kept = [ranked[position] for position in chosen]
    return _Sample(kept, places_of(kept, [held_out[position] for position in chosen]), given[chosen])
