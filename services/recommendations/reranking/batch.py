"""Many requests served at once under the same prices: what fitting and evaluation do hundreds of times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.reranking.selection import (
    Floats,
    Integers,
    Request,
    position_discounts,
    slate_values,
)
from streamrec.contracts.errors import InvalidInputError

NOT_A_CANDIDATE: Final = -1
"""Position of a held-out item that is not among a request's candidates."""


@dataclass(frozen=True)
class Slates:
    """What some prices showed to each of r requests.

    Attributes:
        positions: Shape (r, k): candidate positions shown, in order of relevance.
        codes: Shape (r, k): their languages.
        expected_ndcg: Shape (r,): discounted calibrated relevance of each slate.
        held_out_ndcg: Shape (r,): discount at which the held-out item stands, 0 where it is not shown.
    """

    positions: Integers
    codes: Integers
    expected_ndcg: Floats
    held_out_ndcg: Floats

    def exposure(self, weights: Floats, languages: int) -> Floats:
        """Share of the shown items by language; shape (languages,), sums to 1.

        Args:
            weights: Shape (r,): how many requests of the traffic each one stands for.
            languages: How many there are; slate items with other codes are not counted.
        """
        spread = np.broadcast_to(weights[:, None], self.codes.shape)
        counts = np.bincount(self.codes.ravel(), spread.ravel(), minlength=languages)
        shown: Floats = counts[:languages].astype(np.float64)
        total = shown.sum()
        return shown / total if total > 0 else shown


@dataclass(frozen=True)
class RequestBatch:
    """Requests cut down to the candidates that any prices could bring into the slate, as rectangles.

    These are the first k, and the first k of each language. Answers are those of `best_exchange`.

    Attributes:
        slate_length: Items k of a slate.
        positions: Shape (r, w): position among the request's candidates; rising.
        relevance: Shape (r, w), not increasing; 0 pads.
        values: Shape (r, w): `slate_values`; -inf pads.
        codes: Shape (r, w): language of each.
        foreign: Shape (r, w): whether only the exploration share lets a price lift it.
        held_out: Shape (r,): position of the held-out item; `NOT_A_CANDIDATE` where it is not among them.
    """

    slate_length: int
    positions: Integers
    relevance: Floats
    values: Floats
    codes: Integers
    foreign: NDArray[np.bool_]
    held_out: Integers

    def __len__(self) -> int:
        return len(self.positions)

    @classmethod
    def stack(cls, requests: Sequence[Request], held_out: Sequence[int], slate_length: int) -> RequestBatch:
        """Put requests together.

        Args:
            requests: With at least ``slate_length`` candidates each.
            held_out: Position of each one's held-out item among its candidates, or `NOT_A_CANDIDATE`.
            slate_length: Items of a slate, 1 or more.

        Raises:
            InvalidInputError: No requests, another number of held-out items, or a request that is too short.
        """
        if not requests or len(requests) != len(held_out):
            raise InvalidInputError("held_out", f"{len(held_out)} items for {len(requests)} requests")
        if min(len(request.relevance) for request in requests) < slate_length:
            raise InvalidInputError("requests", f"one has fewer than {slate_length} candidates")
        chosen = [_eligible(request.codes, slate_length) for request in requests]
        width = max(len(rows) for rows in chosen)
        shape = (len(requests), width)
        positions = np.full(shape, np.iinfo(np.int64).max)
        relevance, codes = np.zeros(shape), np.zeros(shape, dtype=np.int64)
        values, foreign = np.full(shape, -np.inf), np.zeros(shape, dtype=np.bool_)
        for row, (request, rows) in enumerate(zip(requests, chosen, strict=True)):
            here = slice(len(rows))
            positions[row, here], codes[row, here] = rows, request.codes[rows]
            relevance[row, here] = request.relevance[rows]
            values[row, here] = slate_values(request.relevance, slate_length)[rows]
            foreign[row, here] = ~request.consumed[codes[row, here]] & (rows >= slate_length)
        return cls(slate_length, positions, relevance, values, codes, foreign, np.asarray(held_out))

    def serve(self, prices: Floats, exploration_slots: int) -> Slates:
        """Answer every request; ``prices`` and ``exploration_slots`` as in `best_exchange`."""
        gains = self.values + prices[self.codes]
        if self.foreign.any():
            # Sorted, foreign ones first: those beyond the exploration slots are worth their relevance alone.
            lifted = np.argsort(np.where(self.foreign, -gains, np.inf), axis=1, kind="stable")
            beyond = lifted[:, exploration_slots:]
            dropped = np.take_along_axis(np.where(self.foreign, self.values, gains), beyond, axis=1)
            np.put_along_axis(gains, beyond, dropped, axis=1)
        shown = np.argsort(-gains, axis=1, kind="stable")[:, : self.slate_length]
        return self._slates(np.sort(shown, axis=1))

    def relevance_order(self) -> Slates:
        """Answer every request in the order of relevance."""
        columns = np.arange(self.slate_length)
        return self._slates(np.broadcast_to(columns, (len(self), self.slate_length)))

    def slates_of(self, columns: Integers) -> Slates:
        """What another algorithm showed: columns of the batch in the order shown, shape (r, k)."""
        return self._slates(columns)

    def _slates(self, columns: Integers) -> Slates:
        discounts = position_discounts(self.slate_length)
        positions = np.take_along_axis(self.positions, columns, axis=1)
        return Slates(
            positions=positions,
            codes=np.take_along_axis(self.codes, columns, axis=1),
            expected_ndcg=np.take_along_axis(self.relevance, columns, axis=1) @ discounts,
            held_out_ndcg=(positions == self.held_out[:, None]) @ discounts,
        )


def _eligible(codes: Integers, slate_length: int) -> Integers:
    """Positions of the first ``slate_length`` candidates, and of the first so many of each language."""
    eligible = order_in_language(codes) < slate_length
    eligible[:slate_length] = True
    return np.flatnonzero(eligible)


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
