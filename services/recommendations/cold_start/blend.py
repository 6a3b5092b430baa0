"""Choosing how much taste and each click count, on items that nothing was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.cold_start.assessment import Cases
from services.recommendations.cold_start.model import Blend, ColdStartModel
from streamrec.training.ranking_metrics import ndcg_at

CLICK_WEIGHTS: Final = (1.0, 0.5, 0.25)
"""Tried in turn."""

TASTE_WEIGHTS: Final = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0)
"""Tried in turn; 1 is Bayes' rule, 0 is popularity alone."""

_DEPTH: Final = 100
"""Of the NDCG that decides: ten times a slate's depth finds more held-out items, so chance decides less."""

_FILTERED: Final = np.float32(-1e6)


def fit_blend(
    model: ColdStartModel,
    cases: Cases,
    *,
    pool: int,
    rng: np.random.Generator,
) -> Blend:
    """Choose the weights of clicks, segment and taste by NDCG@100 of the next item.

    The likelihood of the next item is not used: item vectors have heavier tails than a Gaussian, a few
    far-off items decide it, and it all but switches taste off (on MovieLens-small: weight 0.07 instead of
    0.7, and with it most of the gain over popularity).

    Args:
        model: With the blend's ``exploration`` to fit for; its other weights are not looked at.
        cases: Short histories, and the item that each user took up next.
        pool: The ranking is over this many most popular items in the user's language, and the target.
        rng: Source of the draws; all weights see the same ones.
    """
    seed = int(rng.integers(2**32))
    # Distinct known clicks of each case: the n of `Blend`.
    clicks = np.array([len(model.known_rows(user.history)) for user in cases.users])
    best, best_value = model.blend, -np.inf
    for click_weight in CLICK_WEIGHTS:
        blend = replace(model.blend, click_weight=click_weight)
        draws = np.random.default_rng(seed)
        shares, tastes = _features(replace(model, blend=blend), cases, pool, draws)
        # Cases without a click see the segment's weight alone, so it is chosen on them alone.
        segment_weight, value_without = _best_weight(
            (weight, _ndcg_sum(shares, tastes, clicks, clicks == 0, replace(blend, segment_weight=weight)))
            for weight in TASTE_WEIGHTS
        )
        blend = replace(blend, segment_weight=segment_weight)
        taste_weight, value_with = _best_weight(
            (weight, _ndcg_sum(shares, tastes, clicks, clicks > 0, replace(blend, taste_weight=weight)))
            for weight in TASTE_WEIGHTS
        )
        if value_without + value_with > best_value:
            best_value = value_without + value_with
            best = replace(blend, taste_weight=taste_weight)
    return best


def _best_weight(tried: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Weight and value of the best; the smaller weight when they tie."""
    return max(tried, key=lambda pair: (pair[1], -pair[0]))


def _ndcg_sum(
    shares: NDArray[np.float32],
    tastes: NDArray[np.float32],
    clicks: NDArray[np.int64],
    chosen: NDArray[np.bool_],
    blend: Blend,
) -> float:
    """NDCG@100 of the targets, added up over the chosen cases."""
    weights = np.array([blend.weight_after(count) for count in clicks[chosen].tolist()], dtype=np.float32)
    scores = shares[chosen] + weights[:, None] * tastes[chosen]
    # The target stands in the last column; its twin in the pool does not outrank it.
    ranks = (scores[:, :-1] > scores[:, -1:]).sum(axis=1)
    return float(ndcg_at(ranks.astype(np.int32), _DEPTH).sum())


def _features(
    model: ColdStartModel,
    cases: Cases,
    pool: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Log share and taste of the pool and, last, of the target; each of shape (u, pool + 1)."""
    width = min(pool, model.popularity.leaders.shape[1])
    shares, tastes = np.empty((2, len(cases.users), width + 1), dtype=np.float32)
    for row, (user, target) in enumerate(zip(cases.users, cases.targets, strict=True)):
        posterior = model.posterior(user).explored(model.blend.exploration, rng)
        group = model.popularity.group(user.segment.language)
        rows = np.append(model.popularity.leaders[group, :width], target)
        shares[row] = model.popularity.log_shares[group, rows]
        tastes[row] = model.taste(posterior, rows)
        shares[row, :-1][np.isin(rows[:-1], cases.seen[row])] = _FILTERED
    return shares, tastes
