"""Fitting the prices of language exposure: dual ascent towards a target, as far as relevance allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from services.recommendations.reranking.selection import Request, best_exchange, slate_after
from streamrec.stats.inequality import gini

STAGES: Final = 20
"""Most stages of the ascent. The wanted exposure reaches the target's half way; from there on it is asked for
more, because the exposure follows the wanted one with a lag.
"""

_STEPS_PER_STAGE: Final = 6
_AVERAGED_STEPS: Final = 3
_STEP: Final = 0.8
_LARGEST_PRICE: Final = 30.0
"""In units of the relevance at the end of the slate: beyond it a language that candidates lack gains
nothing."""

_DEPTH: Final = 10
_LOG_TEMPERATURE_BOUNDS: Final = (np.log(0.02), np.log(50.0))

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What a set of prices does to the validation requests.

    Attributes:
        exposure: Shape (languages,): slate places by language.
        held_out_ndcg: Mean NDCG@10 of the held-out items.
        expected_ndcg: Mean discounted calibrated relevance at 10: the same thing without the luck of which
        item
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
class PriceFit:
    """Prices, shape (languages + 1,), and what they do, beside the relevance order."""

    prices: Floats
    before: Outcome
    after: Outcome


def fit_temperature(scores: Sequence[NDArray[np.float32]], held_out: Sequence[int]) -> float:
    """Temperature under which the ranker's scores are calibrated log probabilities.

    Maximum likelihood of the held-out item among the candidates (Guo et al. 2017, "On calibration of modern
    neural networks", sec. 4.2). 1.0 where no held-out item is among its candidates.

    Args:
        scores: Scores of each request's candidates.
        held_out: Position of the held-out item among them; -1 where it is not.
    """
    cases = [(s.astype(np.float64), place) for s, place in zip(scores, held_out, strict=True) if place >= 0]
    if not cases:
        return 1.0

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(sum(logsumexp(s * scale) - s[place] * scale for s, place in cases))

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_TEMPERATURE_BOUNDS, method="bounded").x))


def fit_prices(
    requests: Sequence[Request],
    held_out: Sequence[int],
    *,
    counted: NDArray[np.bool_],
    target_gini: float,
    maximum_loss: float,
    diversity_weight: float,
    slate_length: int,
    exploration_slots: int,
    advance: Callable[[], None] = lambda: None,
) -> PriceFit:
    """Find prices that bring the exposure Gini to the target, or as near as the relevance loss allows.

    The constraint that language l gets at least the exposure e_l has the dual variable c_l, its price; its
    subgradient is e_l minus the exposure under the current prices (projected dual ascent: Boyd and
    Vandenberghe 2004, "Convex optimization", sec. 5.6; Bertsekas 1999, "Nonlinear programming", sec. 6.3).
    The wanted exposure is a mixture of today's and the uniform one: that scales the Gini by the share of
    today's. The uniform share grows in stages, each starting from the last one's prices, until the target is
    met or the next stage would cost too much relevance.

    Args:
        requests: Validation requests, none empty.
        held_out: Position of each one's held-out item among the candidates; -1 where it is not.
        counted: Shape (languages + 1,): the languages whose exposure counts; the others have no price.
        target_gini: Gini to reach.
        maximum_loss: Largest share of NDCG@10 that may be lost, by either measure of `Outcome`.
        diversity_weight: Factor that serving puts on the prices.
        slate_length: Items shown.
        exploration_slots: As in `best_exchange`.
        advance: Called after every stage.
    """

    def evaluate(prices: Floats) -> Outcome:
        return outcome_of(
            requests, held_out, diversity_weight * prices, counted, slate_length, exploration_slots
        )

    prices = np.zeros(len(counted))
    before = evaluate(prices)
    best = PriceFit(prices, before, before)
    if before.gini <= target_gini or diversity_weight == 0.0:
        return best
    total = before.exposure.sum()
    today = before.exposure / total
    unit = float(np.median([request.relevance[slate_length - 1 :][:1].sum() for request in requests]))
    unit = max(unit, 1e-9) / diversity_weight
    full_share = 1.0 - target_gini / before.gini
    for stage in range(1, STAGES + 1):
        share = min(2.0 * full_share * stage / STAGES, 1.0)
        wanted = (1.0 - share) * today + share / len(today)
        recent = []
        for _ in range(_STEPS_PER_STAGE):
            exposure = evaluate(prices).exposure / total
            gradient = (wanted - exposure) * len(today)
            stepped = prices[counted] + unit * _STEP * gradient
            prices = prices.copy()
            prices[counted] = np.clip(stepped, 0.0, unit * _LARGEST_PRICE)
            recent.append(prices)
        averaged = np.mean(recent[-_AVERAGED_STEPS:], axis=0)
        after = evaluate(averaged)
        advance()
        if after.loss_from(before) > maximum_loss:
            break
        if after.gini < best.after.gini:
            best = PriceFit(averaged, before, after)
        if after.gini <= target_gini:
            break
    return best


def outcome_of(
    requests: Sequence[Request],
    held_out: Sequence[int],
    prices: Floats,
    counted: NDArray[np.bool_],
    slate_length: int,
    exploration_slots: int,
) -> Outcome:
    """Serve every request with these prices and add up."""
    discounts = 1.0 / np.log2(np.arange(min(_DEPTH, slate_length)) + 2.0)
    shown = np.zeros(len(prices))
    found, expected = 0.0, 0.0
    for request, place in zip(requests, held_out, strict=True):
        length = min(slate_length, len(request.relevance))
        slate = slate_after(best_exchange(request, prices, length, exploration_slots), length)
        np.add.at(shown, request.codes[slate], 1.0)
        head = slate[: len(discounts)]
        expected += float(request.relevance[head] @ discounts[: len(head)])
        found += float(discounts[: len(head)][head == place].sum())
    count = max(len(requests), 1)
    return Outcome(shown[counted], found / count, expected / count)
