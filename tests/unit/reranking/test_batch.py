from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.reranking.batch import NOT_A_CANDIDATE, RequestBatch, order_in_language
from services.recommendations.reranking.selection import (
    Request,
    best_exchange,
    position_discounts,
)
from streamrec.contracts.errors import InvalidInputError
from tests.unit.reranking.slates import slate_after

LANGUAGES = 5


def requests(count, rng):
    for _ in range(count):
        candidates = int(rng.integers(10, 80))
        relevance = -np.sort(-rng.dirichlet(np.full(candidates, 0.3)))
        yield Request(relevance, rng.integers(LANGUAGES, size=candidates), rng.random(LANGUAGES) < 0.5)


@pytest.mark.parametrize("slots", [0, 1, 10])
@pytest.mark.parametrize("scale", [0.0, 0.005, 0.05, 5.0])
def test_many_at_once_are_served_as_each_alone(slots, scale):
    rng = np.random.default_rng(11)
    alone = list(requests(60, rng))
    places = [int(rng.integers(len(request.relevance))) for request in alone]
    prices = scale * rng.random(LANGUAGES)
    slates = RequestBatch.stack(alone, places, 10).serve(prices, slots)
    discounts = position_discounts(10)
    for row, (request, place) in enumerate(zip(alone, places, strict=True)):
        expected = slate_after(best_exchange(request, prices, 10, slots), 10)
        assert slates.positions[row].tolist() == expected.tolist()
        assert slates.codes[row].tolist() == request.codes[expected].tolist()
        assert slates.expected_ndcg[row] == pytest.approx(request.relevance[expected] @ discounts)
        assert slates.held_out_ndcg[row] == pytest.approx((expected == place) @ discounts)


def test_exposure_is_weighted_by_request():
    one = Request(np.array([0.6, 0.3, 0.1]), np.array([0, 0, 1]), np.ones(2, dtype=bool))
    other = Request(np.array([0.6, 0.3, 0.1]), np.array([1, 1, 0]), np.ones(2, dtype=bool))
    batch = RequestBatch.stack([one, other], [0, NOT_A_CANDIDATE], 2)
    shown = batch.relevance_order()
    assert shown.exposure(np.array([3.0, 1.0]), 2).tolist() == [0.75, 0.25]
    assert shown.held_out_ndcg.tolist() == [1.0, 0.0]


def test_requests_that_cannot_be_stacked_are_refused():
    short = Request(np.array([1.0]), np.array([0]), np.ones(1, dtype=bool))
    with pytest.raises(InvalidInputError, match="fewer than 2"):
        RequestBatch.stack([short], [0], 2)
    with pytest.raises(InvalidInputError, match="held_out"):
        RequestBatch.stack([short], [], 1)


def test_order_in_language_counts_earlier_candidates():
    assert order_in_language(np.array([1, 0, 1, 1, 0, 2])).tolist() == [0, 0, 1, 2, 1, 0]
