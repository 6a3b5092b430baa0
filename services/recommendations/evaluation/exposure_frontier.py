"""The frontier of exposure and relevance around a fitted re-ranker, and how far from the best it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from services.recommendations.evaluation.request_sample import RequestSample
from services.recommendations.reranking.frontier import Frontier, measure_frontier
from services.recommendations.reranking.gini_bound import gini_lower_bound
from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.reranking.price_fit import Traffic, fit_prices
from services.recommendations.reranking.train import places_of, traffic_of
from streamrec.contracts.errors import InvalidInputError


@dataclass(frozen=True)
class ExposureFrontier:
    """The frontier and its limits, on test requests.

    Attributes:
        frontier: Ours beside greedy MMR; the weight 1 has the prices that cost the relevance bound on
            validation. None where exposure is even in relevance order already.
        maximum_relevance_loss: The relevance bound.
        gini_bound: No slates of these candidates have a lower Gini within it; see `gini_lower_bound`.
        gini_bound_without_exploration_limit: The same where any language may be pushed on anybody.
    """

    frontier: Frontier | None
    maximum_relevance_loss: float
    gini_bound: float
    gini_bound_without_exploration_limit: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; ``frontier`` as the plot reads it."""
        curves = {"frontier": None, "advantages": []} if self.frontier is None else self.frontier.to_json()
        return {
            **curves,
            "maximum_relevance_loss": self.maximum_relevance_loss,
            "gini_bound": self.gini_bound,
            "gini_bound_without_exploration_limit": self.gini_bound_without_exploration_limit,
        }


def exposure_frontier(
    reranker: DiversityReranker,
    validation: RequestSample,
    test: RequestSample,
    *,
    maximum_relevance_loss: float,
    seed: int,
) -> ExposureFrontier:
    """Fit on validation requests, measure on test requests.

    Args:
        reranker: Its calibration, languages and exploration limit are used; its prices are not.
        validation: See `services.recommendations.evaluation.request_sample.sample_requests`.
        test: The same with the test items held out.
        maximum_relevance_loss: Largest share of NDCG that may be lost; 0..1.
        seed: Of the bootstrap.

    Raises:
        InvalidInputError: A sample holds no request that is longer than the slate.
    """
    fitted_on, measured_on = _traffic(reranker, validation), _traffic(reranker, test)
    fit = fit_prices(fitted_on, target_gini=0.0, maximum_loss=maximum_relevance_loss)
    batch = measured_on.batch
    unlimited = Traffic(batch, measured_on.weights, measured_on.counted, batch.slate_length)
    return ExposureFrontier(
        frontier=measure_frontier(fitted_on, measured_on, fit, seed=seed) if fit.strength > 0.0 else None,
        maximum_relevance_loss=maximum_relevance_loss,
        gini_bound=gini_lower_bound(measured_on, maximum_relevance_loss),
        gini_bound_without_exploration_limit=gini_lower_bound(unlimited, maximum_relevance_loss),
    )


def _traffic(reranker: DiversityReranker, sample: RequestSample) -> Traffic:
    rows = [
        row for row, (_, candidates) in enumerate(sample.ranked) if len(candidates) > reranker.slate_length
    ]
    if not rows:
        raise InvalidInputError("requests", "none has more candidates than the slate has places")
    ranked = [sample.ranked[row] for row in rows]
    places = places_of(ranked, [sample.held_out[row] for row in rows])
    return traffic_of(reranker, ranked, places, np.array([sample.weights[row] for row in rows]))
