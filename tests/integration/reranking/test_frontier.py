from __future__ import annotations

import json

import numpy as np
import pytest

from services.recommendations.reranking.batch import RequestBatch
from services.recommendations.reranking.frontier import measure_frontier
from services.recommendations.reranking.greedy_mmr import greedy_mmr, scarcity_bonus
from services.recommendations.reranking.price_fit import PriceFit, Traffic, fit_prices
from services.recommendations.reranking.selection import Request
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.intervals import Interval

LANGUAGES = 6


def a_traffic(seed, count=600):
    """Users of one or two languages, most of them of the first, with calibrated relevance."""
    rng = np.random.default_rng(seed)
    shares = np.geomspace(1.0, 0.1, LANGUAGES)
    shares /= shares.sum()
    requests, places = [], []
    for _ in range(count):
        own, second = rng.choice(LANGUAGES, p=shares), rng.integers(LANGUAGES)
        codes = rng.choice(LANGUAGES, size=150, p=shares)
        scores = 1.5 * rng.normal(size=150) + 3.0 * (codes == own) + 2.0 * (codes == second)
        order = np.argsort(-scores)
        relevance = np.exp(scores[order])
        relevance /= relevance.sum()
        consumed = np.isin(np.arange(LANGUAGES + 1), [own, second])
        requests.append(Request(relevance, codes[order], consumed))
        places.append(int(rng.choice(150, p=relevance)))
    counted = np.append(np.ones(LANGUAGES, dtype=bool), False)
    return Traffic(RequestBatch.stack(requests, places, 10), np.ones(count), counted, 1)


@pytest.fixture(scope="module")
def validation():
    return a_traffic(1)


@pytest.fixture(scope="module")
def fit(validation):
    return fit_prices(validation, target_gini=0.0, maximum_loss=0.02)


@pytest.fixture(scope="module")
def frontier(validation, fit):
    return measure_frontier(validation, a_traffic(2), fit, seed=3)


def test_more_weight_is_less_inequality_and_less_relevance(frontier):
    for points in (frontier.ours, frontier.greedy_mmr):
        assert (np.diff([point.gini for point in points]) < 0.005).all()
        assert (np.diff([point.expected_ndcg.value for point in points]) < 1e-9).all()
        assert points[-1].gini < points[0].gini - 0.1


def test_ours_keeps_more_relevance_at_the_gini_of_every_weight_of_greedy_mmr(frontier):
    assert len(frontier.advantages) >= 5
    for advantage in frontier.advantages:
        assert advantage.expected_ndcg.low > 0.0
        assert advantage.held_out_ndcg.high > 0.0


def test_the_frontier_is_plain_json(frontier):
    document = json.loads(json.dumps(frontier.to_json(), allow_nan=False))
    assert set(document["frontier"]) == {"ours", "greedy_mmr"}
    for point in document["frontier"]["ours"]:
        assert Interval.from_json(point["ndcg@10"]).n > 0


def test_without_weight_greedy_mmr_is_the_order_of_relevance(validation):
    slates = greedy_mmr(validation.batch, np.ones(LANGUAGES + 1), 0.0, 1)
    assert (slates.positions == np.arange(10)).all()
    with pytest.raises(InvalidInputError, match="weight"):
        greedy_mmr(validation.batch, np.ones(LANGUAGES + 1), 1.5, 1)


@pytest.mark.parametrize("slots", [0, 1, 3])
def test_greedy_mmr_keeps_to_the_exploration_slots_and_shows_nothing_twice(validation, slots):
    bonus = scarcity_bonus(np.array([0.4, 0.3, 0.1, 0.1, 0.06, 0.04]), validation.counted)
    batch = validation.batch
    slates = greedy_mmr(batch, bonus, 0.9, slots)
    assert all(len(set(row)) == 10 for row in slates.positions.tolist())
    foreign = {
        (row, position)
        for row, column in zip(*np.nonzero(batch.foreign), strict=True)
        for position in [int(batch.positions[row, column])]
    }
    pushed = [sum((row, p) in foreign for p in slate) for row, slate in enumerate(slates.positions.tolist())]
    assert max(pushed) == slots


def test_the_bonus_is_largest_for_what_is_shown_least():
    bonus = scarcity_bonus(np.array([0.6, 0.1, 0.3]), np.array([True, False, True, True]))
    assert bonus.tolist() == pytest.approx([0.0, 0.0, 1.0, 0.6])
    assert not scarcity_bonus(np.full(3, 1 / 3), np.ones(3, dtype=bool)).any()


def test_without_prices_there_is_no_frontier(validation, fit):
    nothing = PriceFit(np.zeros(LANGUAGES + 1), np.zeros(LANGUAGES), 0.0, fit.before, fit.before)
    with pytest.raises(InvalidInputError, match="nothing to price"):
        measure_frontier(validation, validation, nothing, seed=1)


def test_prices_are_fitted_within_the_bound_and_to_the_target(validation, fit):
    assert fit.after.loss_from(fit.before) <= 0.02
    assert fit.after.gini < fit.before.gini - 0.05
    halfway = 0.5 * (fit.after.gini + fit.before.gini)
    gentle = fit_prices(validation, target_gini=halfway, maximum_loss=0.02)
    assert gentle.after.gini == pytest.approx(halfway, abs=0.01)
    assert gentle.after.gini <= halfway
    assert gentle.after.expected_ndcg > fit.after.expected_ndcg
