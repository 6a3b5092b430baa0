"""The slate that maximises expected NDCG plus priced language exposure, as steps from the relevance order.

For one request with calibrated relevance p_1 >= p_2 >= ..., discounts d_1 > ... > d_k and prices c_l (dual
variables of the exposure constraint: what one more shown item of language l is worth in NDCG):

    maximise  sum_{i in S} (v_i + c_l(i)),   |S| = k

v_i is what the NDCG of the slate loses when item i is left out and everything behind it moves up one place,
so that a lifted item stands at the end of the slate, where the discount makes it cheap:

    v_i = d_k p_i                            for i >= k
    v_i = d_i (p_i - p_{i+1}) + v_{i+1}      for i < k

That is exact for the first exchange and near enough for the few that follow. The sum is separable, hence the
maximum is the k largest of v_i + c_l(i): one sort, no search. Prices enter linearly because exposure adds up
linearly over requests: in the Lagrangian of "relevance under a bound on exposure inequality" each request is
on its own (Singh and Joachims 2018, "Fairness of exposure in rankings", sec. 3.3, as a linear programme).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Request:
    """One user's candidates as the selection sees them.

    Attributes:
        relevance: Shape (n,), probabilities, not increasing.
        codes: Shape (n,): language of each candidate, an index into the prices.
        consumed: Shape (l,): whether the user consumes the language.
    """

    relevance: Floats
    codes: Integers
    consumed: NDArray[np.bool_]


@dataclass(frozen=True)
class Exchange:
    """Exchanges that lead from the relevance order to the best slate, the most valuable one first.

    Every prefix is a valid slate, and each step is worth at least as much as the next.

    Attributes:
        incoming: Shape (m,): candidate positions >= k to bring in.
        outgoing: Shape (m,): candidate positions < k to drop, one for each.
    """

    incoming: Integers
    outgoing: Integers


def position_discounts(slate_length: int) -> Floats:
    """Shape (slate_length,): attention of each position, 1 / log2(1 + position), as in NDCG."""
    discounts: Floats = 1.0 / np.log2(np.arange(slate_length) + 2.0)
    return discounts


def slate_values(relevance: Floats, slate_length: int) -> Floats:
    """What leaving an item out costs the slate in NDCG: v of the module's docstring.

    Args:
        relevance: Shape (..., n), not increasing along the last axis.
        slate_length: Items k in the slate, at most n.

    Returns:
        Shape (..., n), not increasing.
    """
    discounts = position_discounts(slate_length)
    values: Floats = relevance * discounts[-1]
    if slate_length > 1:
        steps = discounts[:-1] * (relevance[..., : slate_length - 1] - relevance[..., 1:slate_length])
        from_the_end = np.cumsum(steps[..., ::-1], axis=-1)[..., ::-1]
        values[..., : slate_length - 1] = from_the_end + values[..., slate_length - 1 : slate_length]
    return values


def best_exchange(request: Request, prices: Floats, slate_length: int, exploration_slots: int) -> Exchange:
    """Find the best slate.

    Args:
        request: The candidates.
        prices: Shape (l,), not negative: price of each language, weight included.
        slate_length: Items k in the slate.
        exploration_slots: Most items in languages that the user does not consume that a price may lift into
            the slate. Such items that are there by relevance alone are not touched by this.

    Returns:
        The exchanges; none when relevance order is best.
    """
    relevance, codes, consumed = request.relevance, request.codes, request.consumed
    k = min(slate_length, len(relevance))
    nothing = np.empty(0, dtype=np.int64)
    if k == 0 or k == len(relevance) or not prices.any():
        return Exchange(nothing, nothing)
    values = slate_values(relevance, k)
    gains = values + prices[codes]
    slate = _largest(gains, k)
    lifted = slate[(slate >= k) & ~consumed[codes[slate]]]
    if len(lifted) > exploration_slots:
        # A price is no reason for more than the exploration share: beyond it only relevance counts.
        foreign = np.flatnonzero(~consumed[codes[k:]]) + k
        allowed = lifted[np.lexsort((lifted, -gains[lifted]))][:exploration_slots]
        unpriced = np.setdiff1d(foreign, allowed, assume_unique=True)
        gains[unpriced] = values[unpriced]
        slate = _largest(gains, k)
    incoming = slate[slate >= k]
    kept = np.zeros(k, dtype=np.bool_)
    kept[slate[slate < k]] = True
    outgoing = np.flatnonzero(~kept)
    return Exchange(
        incoming=incoming[np.lexsort((incoming, -gains[incoming]))],
        outgoing=outgoing[np.lexsort((-outgoing, gains[outgoing]))],
    )


def _largest(gains: Floats, count: int) -> Integers:
    """Positions of the ``count`` largest gains; ties go to the more relevant candidate."""
    return np.argsort(-gains, kind="stable")[:count]
