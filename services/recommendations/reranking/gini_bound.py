"""A lower bound on the exposure Gini: no choice of slates with the same relevance does better."""

from __future__ import annotations

from typing import Final

import numpy as np

from services.recommendations.reranking.price_fit import Floats, Traffic, fit_at
from services.recommendations.reranking.selection import position_discounts

_STRENGTHS: Final = tuple(np.geomspace(1e-3, 0.3, 14).tolist())
"""As shares of the mean NDCG in relevance order."""


def gini_lower_bound(traffic: Traffic, maximum_loss: float) -> float:
    """Lowest exposure Gini that slates of these candidates can have, random ones included.

    Lagrangian duality. Take any strength s and any pattern w out of the permutohedron. Slates of k items with
    exposure shares x and mean value V (the separable value of `slate_values`, NDCG to first order) satisfy
    ``V - s k (w . x) <= M``, where M is the mean over requests of the best that each could do alone; and
    ``w . x <= Gini(x)``. So if V is at least ``(1 - maximum_loss)`` of the NDCG in relevance order, the Gini
    is at least ``(V - M) / (s k)``. The largest of these bounds over the strengths is returned.

    Args:
        traffic: Requests with their exploration limit; every language of a candidate must be counted.
        maximum_loss: Largest share of the expected NDCG that may be lost.
    """
    batch, weights = traffic.batch, traffic.weights / traffic.weights.sum()
    before = traffic.outcome_of(batch.relevance_order())
    if before.expected_ndcg <= 0.0:
        return 0.0
    kept = (1.0 - maximum_loss) * before.expected_ndcg
    # What the values of the first k add up to exceeds their NDCG by the same amount for every slate.
    first = batch.values[:, : batch.slate_length]
    offset = batch.relevance[:, : batch.slate_length] @ position_discounts(batch.slate_length) - first.sum(
        axis=1
    )
    pattern = np.zeros(int(traffic.counted.sum()))
    best = 0.0
    for share in _STRENGTHS:
        strength = share * before.expected_ndcg
        pattern = fit_at(traffic, strength, pattern, before).pattern
        prices = traffic.priced(pattern, strength)
        value = _best_values(traffic, prices) + offset
        # Prices are strength * (max w - w): taking the maximum off every item gives -strength * w.
        largest = float(weights @ value) - strength * batch.slate_length * float(pattern.max())
        best = max(best, (kept - largest) / (strength * batch.slate_length))
    return best


def _best_values(traffic: Traffic, prices: Floats) -> Floats:
    """Shape (r,): value and prices of the best slate of each request."""
    batch = traffic.batch
    shown = batch.serve(prices, traffic.exploration_slots)
    # Positions rise along a row, so a slate's columns are where its positions stand.
    members = (batch.positions[:, :, None] == shown.positions[:, None, :]).any(axis=2)
    gains = np.where(members, batch.values + prices[batch.codes], 0.0)
    total: Floats = gains.sum(axis=1)
    return total
