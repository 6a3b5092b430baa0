from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.reranking.batch import RequestBatch
from services.recommendations.reranking.gini_bound import gini_lower_bound
from services.recommendations.reranking.price_fit import Traffic, fit_prices
from services.recommendations.reranking.selection import Request


def a_traffic(seed, slots=1):
    rng = np.random.default_rng(seed)
    requests = []
    for _ in range(200):
        scores = 1.5 * rng.normal(size=80)
        codes = rng.choice(5, size=80, p=[0.6, 0.2, 0.1, 0.06, 0.04])
        scores += 2.0 * (codes == rng.choice(5, p=[0.6, 0.2, 0.1, 0.06, 0.04]))
        order = np.argsort(-scores)
        relevance = np.exp(scores[order])
        consumed = rng.random(6) < 0.5
        requests.append(Request(relevance / relevance.sum(), codes[order], consumed))
    counted = np.array([True] * 5 + [False])
    return Traffic(RequestBatch.stack(requests, [-1] * 200, 10), np.ones(200), counted, slots)


@pytest.mark.parametrize("maximum_loss", [0.005, 0.02])
@pytest.mark.parametrize("slots", [0, 1, 10])
def test_no_fit_is_below_the_bound_and_the_best_fit_is_near_it(maximum_loss, slots):
    traffic = a_traffic(1, slots)
    bound = gini_lower_bound(traffic, maximum_loss)
    fit = fit_prices(traffic, target_gini=0.0, maximum_loss=maximum_loss)
    assert bound <= fit.after.gini + 1e-3
    assert bound == pytest.approx(fit.after.gini, abs=0.02)


def test_more_freedom_lowers_the_bound():
    assert gini_lower_bound(a_traffic(1, 10), 0.02) <= gini_lower_bound(a_traffic(1, 0), 0.02)
    assert gini_lower_bound(a_traffic(1), 0.03) < gini_lower_bound(a_traffic(1), 0.01)


def test_without_any_loss_the_bound_is_the_gini_of_the_order_of_relevance():
    traffic = a_traffic(2)
    before = traffic.outcome_of(traffic.batch.relevance_order())
    assert gini_lower_bound(traffic, 0.0) == pytest.approx(before.gini, abs=0.02)
