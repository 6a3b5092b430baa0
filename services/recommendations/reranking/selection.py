"""The slate that maximises relevance plus priced language exposure, as steps from the relevance order.

For one request with calibrated relevance p_i, prices c_l (dual variables of the exposure constraints: what
one more unit of exposure of language l is worth in relevance) and n_l items of language l in the slate S:

    maximise  sum_{i in S} p_i + sum_l c_l u(n_l),   u(n) = log2(1 + n),   |S| = k

u is concave, so a language's second item is worth less than its first and exposure spreads over users. Within
a language the best items are taken first, hence the value of n_l items is concave in n_l, and the maximum is
the k largest of the marginal gains p_(l, j) + c_l (u(j + 1) - u(j)), j = 0, 1, ... (Fox 1966, "Discrete
optimization via marginal analysis"). One sort, no search.
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


def marginal_utilities(count: int) -> Floats:
    """Shape (count,): u(j + 1) - u(j) for u(n) = log2(1 + n)."""
    steps = np.arange(count)
    utilities: Floats = np.log2((steps + 2.0) / (steps + 1.0))
    return utilities


def order_in_language(codes: NDArray[np.integer]) -> Integers:
    """Shape (n,): how many earlier candidates have the same language code, for each candidate.

    Args:
        codes: Shape (n,), in relevance order.
    """
    by_code = np.argsort(codes, kind="stable")
    grouped = codes[by_code]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]])
    lengths = np.diff(np.r_[starts, len(codes)])
    earlier = np.empty(len(codes), dtype=np.int64)
    earlier[by_code] = np.arange(len(codes)) - np.repeat(starts, lengths)
    return earlier


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
    if k == len(relevance) or not prices.any():
        return Exchange(nothing, nothing)
    earlier = order_in_language(codes)
    # Only the first k items of a language can be in the slate; the others have no utility to claim.
    bonus = prices[codes] * marginal_utilities(k)[np.minimum(earlier, k - 1)]
    gains = relevance + np.where(earlier < k, bonus, 0.0)
    slate = _largest(gains, k)
    lifted = slate[(slate >= k) & ~consumed[codes[slate]]]
    if len(lifted) > exploration_slots:
        # A price is no reason for more than the exploration share: beyond it only relevance counts.
        foreign = np.flatnonzero(~consumed[codes[k:]]) + k
        allowed = lifted[np.lexsort((lifted, -gains[lifted]))][:exploration_slots]
        unpriced = np.setdiff1d(foreign, allowed, assume_unique=True)
        gains[unpriced] = relevance[unpriced]
        slate = _largest(gains, k)
    incoming = slate[slate >= k]
    kept = np.zeros(k, dtype=np.bool_)
    kept[slate[slate < k]] = True
    outgoing = np.flatnonzero(~kept)
    return Exchange(
        incoming=incoming[np.lexsort((incoming, -gains[incoming]))],
        outgoing=outgoing[np.lexsort((-outgoing, gains[outgoing]))],
    )


def slate_after(exchange: Exchange, slate_length: int) -> Integers:
    """Candidate positions of the slate after every exchange, in order of relevance; shape (slate_length,)."""
    kept = np.ones(slate_length, dtype=np.bool_)
    kept[exchange.outgoing] = False
    return np.sort(np.concatenate([np.flatnonzero(kept), exchange.incoming]))


def _largest(gains: Floats, count: int) -> Integers:
    """Positions of the ``count`` largest gains; ties go to the more relevant candidate."""
    return np.argsort(-gains, kind="stable")[:count]
