from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from services.recommendations.reranking.selection import (
    Request,
    best_exchange,
    position_discounts,
    slate_values,
)
from tests.unit.reranking.slates import slate_after


def a_request(rng, candidates=9, languages=3, consumed=None):
    relevance = -np.sort(-rng.dirichlet(np.ones(candidates)))
    codes = rng.integers(languages, size=candidates)
    consumed = np.ones(languages, dtype=bool) if consumed is None else consumed
    return Request(relevance, codes, consumed)


def objective(request, prices, slate):
    return slate_values(request.relevance, len(slate))[slate].sum() + prices[request.codes[slate]].sum()


@pytest.mark.parametrize("seed", range(30))
def test_the_slate_is_the_best_of_all_subsets(seed):
    rng = np.random.default_rng(seed)
    request, prices = a_request(rng), rng.uniform(0.0, 0.3, size=3)
    slate = slate_after(best_exchange(request, prices, 4, 4), 4)
    best = max(objective(request, prices, np.array(subset)) for subset in combinations(range(9), 4))
    assert objective(request, prices, slate) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(20))
def test_every_exchange_improves_the_slate_and_the_first_ones_most(seed):
    rng = np.random.default_rng(seed)
    request, prices = a_request(rng, 40, 5), rng.uniform(0.0, 0.2, size=5)
    exchange = best_exchange(request, prices, 10, 10)
    members = set(range(10))
    values = [objective(request, prices, np.array(sorted(members)))]
    for dropped, taken in zip(exchange.outgoing, exchange.incoming, strict=True):
        members = (members - {int(dropped)}) | {int(taken)}
        values.append(objective(request, prices, np.array(sorted(members))))
    improvements = np.diff(values)
    assert len(improvements) == len(exchange.outgoing)
    assert (improvements > 0).all()
    assert (np.diff(improvements) <= 1e-12).all()


@pytest.mark.parametrize("slots", [0, 1, 2])
def test_languages_the_user_does_not_consume_stay_within_the_exploration_slots(slots):
    rng = np.random.default_rng(3)
    for _ in range(50):
        consumed = np.array([True, True, False, False])
        request = a_request(rng, 60, 4, consumed)
        prices = np.array([0.0, 0.1, 1.0, 2.0])
        slate = slate_after(best_exchange(request, prices, 10, slots), 10)
        lifted = [p for p in slate if p >= 10 and not consumed[request.codes[p]]]
        assert len(lifted) <= slots


def test_without_prices_nothing_is_exchanged():
    request = a_request(np.random.default_rng(0))
    assert len(best_exchange(request, np.zeros(3), 4, 4).incoming) == 0


@pytest.mark.parametrize("left_out", range(4))
@pytest.mark.parametrize("taken", [4, 7])
def test_a_value_is_what_the_ndcg_loses_when_the_item_is_left_out(left_out, taken):
    relevance = a_request(np.random.default_rng(left_out)).relevance
    values, discounts = slate_values(relevance, 4), position_discounts(4)
    slate = [position for position in range(4) if position != left_out] + [taken]
    lost = relevance[:4] @ discounts - relevance[slate] @ discounts
    assert values[left_out] - values[taken] == pytest.approx(lost)
    assert (np.diff(values) <= 1e-15).all()


def test_values_of_many_requests_are_those_of_each():
    rng = np.random.default_rng(2)
    relevance = -np.sort(-rng.random((5, 12)), axis=1)
    together = slate_values(relevance, 3)
    for row in range(5):
        assert together[row] == pytest.approx(slate_values(relevance[row], 3))


def test_a_slate_of_one():
    request = Request(np.array([0.6, 0.4]), np.array([0, 1]), np.array([True, True]))
    assert slate_after(best_exchange(request, np.array([0.0, 0.3]), 1, 0), 1).tolist() == [1]
    assert slate_after(best_exchange(request, np.array([0.0, 0.1]), 1, 0), 1).tolist() == [0]
