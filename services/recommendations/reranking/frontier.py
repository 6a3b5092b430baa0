"""Exposure against relevance over the diversity weights, ours beside greedy MMR. Evaluation only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from services.recommendations.reranking.batch import Slates
from services.recommendations.reranking.greedy_mmr import greedy_mmr, scarcity_bonus
from services.recommendations.reranking.price_fit import Floats, PriceFit, Traffic, fit_at
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.intervals import Interval
from streamrec.stats.inequality import gini
from streamrec.stats.intervals import bootstrap_mean

WEIGHTS: Final = (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0)
"""Factors on the fitted prices; 1 is what serves."""

MMR_WEIGHTS: Final = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
"""Of diversity in greedy MMR: from the first slates that change to more than anybody would pay for."""


@dataclass(frozen=True)
class FrontierPoint:
    """What one weight does to the traffic.

    Attributes:
        weight: Of diversity.
        gini: Exposure Gini over the languages.
        held_out_ndcg: NDCG@k of the held-out items, with its interval.
        expected_ndcg: Discounted calibrated relevance, with its interval.
    """

    weight: float
    gini: float
    held_out_ndcg: Interval
    expected_ndcg: Interval

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; ``ndcg@10`` is of the held-out items."""
        return {
            "weight": self.weight,
            "gini": self.gini,
            "ndcg@10": self.held_out_ndcg.to_json(),
            "expected_ndcg@10": self.expected_ndcg.to_json(),
        }


@dataclass(frozen=True)
class Advantage:
    """How much more NDCG ours keeps at the Gini that greedy MMR reaches with one weight; paired by request.

    Attributes:
        weight: Of greedy MMR.
        gini: That it reaches.
        held_out_ndcg: Ours less greedy MMR, held-out items.
        expected_ndcg: The same in calibrated relevance.
    """

    weight: float
    gini: float
    held_out_ndcg: Interval
    expected_ndcg: Interval

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "weight": self.weight,
            "gini": self.gini,
            "ndcg@10": self.held_out_ndcg.to_json(),
            "expected_ndcg@10": self.expected_ndcg.to_json(),
        }


@dataclass(frozen=True)
class Frontier:
    """Both curves, and their distance.

    Attributes:
        ours: By rising weight.
        greedy_mmr: By rising weight.
        advantages: One for each point of greedy MMR whose Gini lies between those of ours.
    """

    ours: tuple[FrontierPoint, ...]
    greedy_mmr: tuple[FrontierPoint, ...]
    advantages: tuple[Advantage, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as the plot reads them."""
        return {
            "frontier": {
                "ours": [point.to_json() for point in self.ours],
                "greedy_mmr": [point.to_json() for point in self.greedy_mmr],
            },
            "advantages": [advantage.to_json() for advantage in self.advantages],
        }


def measure_frontier(
    fitted_on: Traffic,
    measured_on: Traffic,
    fit: PriceFit,
    *,
    seed: int,
    weights: Sequence[float] = WEIGHTS,
    mmr_weights: Sequence[float] = MMR_WEIGHTS,
) -> Frontier:
    """Measure both on requests that neither was fitted on.

    Args:
        fitted_on: Validation requests: where prices and the bonus of greedy MMR come from.
        measured_on: Test requests, with the same languages.
        fit: Prices of the weight 1; see `fit_prices`.
        seed: Of the bootstrap.
        weights: Of ours, rising.
        mmr_weights: Of greedy MMR, rising; 0..1.

    Raises:
        InvalidInputError: ``fit`` has no prices to weigh, or ``weights`` do not rise.
    """
    if fit.strength <= 0.0:
        raise InvalidInputError("fit", "found nothing to price, so there is no frontier")
    if any(after <= before for before, after in pairwise(weights)):
        raise InvalidInputError("weights", "must rise")
    ours = []
    pattern = fit.pattern
    for weight in weights:
        if weight == 0.0:
            slates = measured_on.batch.relevance_order()
        else:
            point = fit_at(fitted_on, weight * fit.strength, pattern, fit.before)
            pattern = point.pattern
            slates = measured_on.batch.serve(point.prices, measured_on.exploration_slots)
        ours.append(_Served.of(weight, slates, measured_on))
    bonus = scarcity_bonus(fit.before.exposure, fitted_on.counted)
    theirs = [
        _Served.of(
            weight,
            greedy_mmr(measured_on.batch, bonus, weight, measured_on.exploration_slots),
            measured_on,
        )
        for weight in mmr_weights
    ]
    advantages = [_advantage(served, ours, seed) for served in theirs]
    return Frontier(
        tuple(served.point(seed) for served in ours),
        tuple(served.point(seed) for served in theirs),
        tuple(advantage for advantage in advantages if advantage is not None),
    )


@dataclass(frozen=True)
class _Served:
    """One weight's slates: the Gini, and both measures by request, weighted so that plain means are right."""

    weight: float
    gini: float
    held_out: Floats
    expected: Floats

    @classmethod
    def of(cls, weight: float, slates: Slates, traffic: Traffic) -> _Served:
        share = traffic.weights * (len(traffic.weights) / traffic.weights.sum())
        return cls(
            weight,
            gini(traffic.outcome_of(slates).exposure),
            slates.held_out_ndcg * share,
            slates.expected_ndcg * share,
        )

    def point(self, seed: int) -> FrontierPoint:
        return FrontierPoint(
            self.weight, self.gini, _interval(self.held_out, seed), _interval(self.expected, seed)
        )


def _advantage(theirs: _Served, ours: Sequence[_Served], seed: int) -> Advantage | None:
    """Compare at equal Gini, with the mixture of the two points of ours that lie around it.

    To serve some requests with one and some with the other is a policy too, and as the Gini is convex, its
    Gini is at most the mixture of theirs: the comparison does not flatter ours.
    """
    for milder, stronger in pairwise(ours):
        if stronger.gini <= theirs.gini <= milder.gini:
            gap = milder.gini - stronger.gini
            share = (milder.gini - theirs.gini) / gap if gap > 0 else 0.0
            held_out = (1.0 - share) * milder.held_out + share * stronger.held_out
            expected = (1.0 - share) * milder.expected + share * stronger.expected
            return Advantage(
                theirs.weight,
                theirs.gini,
                _interval(held_out - theirs.held_out, seed),
                _interval(expected - theirs.expected, seed),
            )
    return None


def _interval(values: Floats, seed: int) -> Interval:
    return bootstrap_mean(values, rng=np.random.default_rng(seed))
