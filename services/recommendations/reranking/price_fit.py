"""Fitting the prices of language exposure: the least inequality that a bounded loss of relevance can buy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.reranking.batch import RequestBatch, Slates
from streamrec.contracts.errors import InvalidInputError
from streamrec.stats.exposure import next_pattern, prices_of
from streamrec.stats.inequality import gini

BISECTIONS: Final = 12
"""Steps of the search for the strength, over `_STRENGTH_RANGE` in logarithms: the last are below 1 %."""

_STRENGTH_RANGE: Final = (1e-4, 1.0)
"""As shares of the mean NDCG in relevance order: what one shown item may cost for one unit of the pattern."""

_ASCENT_STEPS: Final = 16
_AVERAGED_STEPS: Final = 8
_FIRST_STEP: Final = 3.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What a set of prices does to the traffic.

    Attributes:
        exposure: Shape (languages,): share of the slate places by language.
        held_out_ndcg: Mean NDCG@k of the held-out items.
        expected_ndcg: Mean discounted calibrated relevance: the same thing without the luck of which item
            was held out.
    """

    exposure: Floats
    held_out_ndcg: float
    expected_ndcg: float

    @property
    def gini(self) -> float:
        """Exposure Gini over the languages; 0 where nothing is exposed at all."""
        return gini(self.exposure) if self.exposure.sum() > 0 else 0.0

    def loss_from(self, base: Outcome) -> float:
        """Relevance lost since ``base``, as a share of it: the worse of the two measures."""
        losses = [0.0]
        for before, after in (
            (base.held_out_ndcg, self.held_out_ndcg),
            (base.expected_ndcg, self.expected_ndcg),
        ):
            if before > 0:
                losses.append(1.0 - after / before)
        return max(losses)


@dataclass(frozen=True)
class Traffic:
    """Requests, and what counts about them.

    Attributes:
        batch: The requests.
        weights: Shape (r,): how many requests of the real traffic each one stands for, above 0.
        counted: Shape (languages + 1,): the languages whose exposure counts; the others have no price.
        exploration_slots: As in `best_exchange`.
    """

    batch: RequestBatch
    weights: Floats
    counted: NDArray[np.bool_]
    exploration_slots: int

    def __post_init__(self) -> None:
        if self.weights.shape != (len(self.batch),) or not (self.weights > 0).all():
            raise InvalidInputError("weights", "one above 0 for each request")

    def outcome(self, prices: Floats) -> Outcome:
        """Serve every request with these prices, shape (languages + 1,)."""
        return self.outcome_of(self.batch.serve(prices, self.exploration_slots))

    def outcome_of(self, slates: Slates) -> Outcome:
        """What these slates amount to."""
        exposure = slates.exposure(self.weights, len(self.counted))[self.counted]
        total = exposure.sum()
        return Outcome(
            exposure / total if total > 0 else exposure,
            float(np.average(slates.held_out_ndcg, weights=self.weights)),
            float(np.average(slates.expected_ndcg, weights=self.weights)),
        )

    def priced(self, pattern: Floats, strength: float) -> Floats:
        """Shape (languages + 1,): prices from a pattern over the counted languages."""
        prices = np.zeros(len(self.counted))
        prices[self.counted] = prices_of(pattern, strength)
        return prices


@dataclass(frozen=True)
class PriceFit:
    """Prices, and what they do beside the relevance order.

    Attributes:
        prices: Shape (languages + 1,): in NDCG for one shown item.
        pattern: Shape (counted languages,): which languages are over-exposed; see `next_pattern`.
        strength: What a unit of the pattern is worth in NDCG; 0 where relevance order is best already.
        before: In relevance order.
        after: Under the prices.
    """

    prices: Floats
    pattern: Floats
    strength: float
    before: Outcome
    after: Outcome


def fit_prices(
    traffic: Traffic,
    *,
    target_gini: float,
    maximum_loss: float,
    advance: Callable[[], None] = lambda: None,
) -> PriceFit:
    """Find prices that bring the exposure Gini to the target, or as near as the relevance loss allows.

    The problem is: most expected NDCG subject to Gini <= g. The Gini is the support function of a
    permutohedron, so in the Lagrangian the prices are ``strength * (max(pattern) - pattern)`` with a pattern
    out of it, and the saddle point over the patterns is found by projected subgradient ascent
    (`streamrec.stats.exposure.next_pattern`; averaged, as single iterates of a subgradient method jump). The
    strength, the multiplier of the constraint, is bisected: every strength is the cheapest way to some Gini.

    Args:
        traffic: Validation requests.
        target_gini: Gini to reach.
        maximum_loss: Largest share of NDCG that may be lost, by either measure of `Outcome`.
        advance: Called after every one of `BISECTIONS` steps.
    """
    groups = int(traffic.counted.sum())
    pattern = np.zeros(groups)
    before = traffic.outcome_of(traffic.batch.relevance_order())
    best = PriceFit(np.zeros(len(traffic.counted)), pattern, 0.0, before, before)
    if groups < 2 or before.gini <= target_gini or before.expected_ndcg <= 0.0:
        return best
    low, high = (float(np.log(share * before.expected_ndcg)) for share in _STRENGTH_RANGE)
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        fit = fit_at(traffic, float(np.exp(middle)), pattern, before)
        pattern = fit.pattern
        affordable = fit.after.loss_from(before) <= maximum_loss
        if affordable and _is_better(fit, best, target_gini):
            best = fit
        if not affordable or fit.after.gini <= target_gini:
            high = middle
        else:
            low = middle
        advance()
    return best


def fit_at(traffic: Traffic, strength: float, pattern: Floats, before: Outcome) -> PriceFit:
    """Find the pattern that belongs to one strength: one point of the frontier.

    Args:
        traffic: Requests.
        strength: Above 0.
        pattern: Where to start.
        before: Outcome of the relevance order.
    """
    recent = []
    for step in range(_ASCENT_STEPS):
        exposure = traffic.outcome(traffic.priced(pattern, strength)).exposure
        pattern = next_pattern(pattern, exposure, _FIRST_STEP / np.sqrt(1.0 + step / 3.0))
        recent.append(pattern)
    averaged = np.mean(recent[-_AVERAGED_STEPS:], axis=0)
    prices = traffic.priced(averaged, strength)
    return PriceFit(prices, averaged, strength, before, traffic.outcome(prices))


def _is_better(fit: PriceFit, best: PriceFit, target_gini: float) -> bool:
    """Whether ``fit`` is nearer to the target, or costs less where both are there."""
    if max(fit.after.gini, best.after.gini) <= target_gini:
        return fit.after.expected_ndcg > best.after.expected_ndcg
    return fit.after.gini < best.after.gini
