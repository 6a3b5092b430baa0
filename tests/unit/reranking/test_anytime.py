"""Whatever the request, prices and clock: the slate is valid, bounded, and better the longer it may take."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.reranking.calibration import Calibration, ListCalibration
from services.recommendations.reranking.model import SKIP_ABOVE_MS, DiversityReranker
from services.recommendations.reranking.selection import slate_values

CALIBRATION = Calibration((ListCalibration(1.2), ListCalibration(0.6, 0.3), ListCalibration(0.7, 0.4, 0.9)))
LANGUAGES = ("ar", "de", "en", "fi", "sw")
ITEMS = tuple(f"i{row}" for row in range(300))
LANGUAGE_OF = {item: LANGUAGES[row % 7 % 5] for row, item in enumerate(ITEMS[:280])}


class BudgetClock:
    """After the start, lets a number of looks pass in no time, then jumps far beyond every deadline."""

    def __init__(self, looks):
        self.left = looks + 1

    def __call__(self):
        self.left -= 1
        return 0.0 if self.left >= 0 else 1e9


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 120))
    rows = rng.permutation(len(ITEMS))[:count]
    spread = draw(st.sampled_from([0.0, 0.1, 1.0, 10.0]))
    candidates = Candidates.from_scores(tuple(ITEMS[row] for row in rows), spread * rng.normal(size=count))
    history = tuple(ITEMS[row] for row in rng.integers(len(ITEMS), size=draw(st.integers(0, 3))))
    language = draw(st.sampled_from([*LANGUAGES, "unknown", "xx"]))
    user = UserState("u", Segment(language=language), history)
    scale = draw(st.sampled_from([0.0, 1e-3, 0.1, 100.0]))
    prices = {name: float(price) for name, price in zip(LANGUAGES, scale * rng.random(5), strict=True)}
    return candidates, user, prices


def consumed_by(user):
    return {LANGUAGE_OF.get(item) for item in user.history} | {user.segment.language}


@settings(max_examples=150, deadline=None)
@given(cases(), st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0]), st.integers(1, 12))
def test_no_user_is_pushed_languages_beyond_the_exploration_share(case, share, slate_length):
    candidates, user, prices = case
    reranker = DiversityReranker(
        language_of=LANGUAGE_OF,
        exposure_prices=prices,
        exploration_share=share,
        calibration=CALIBRATION,
    )
    answer = reranker.rerank(candidates, user, 0.0, slate_length=slate_length)
    assert sorted(answer.item_ids) == sorted(candidates.item_ids)
    before = set(candidates.item_ids[:slate_length])
    pushed = [
        item
        for item in answer.item_ids[:slate_length]
        if item not in before and LANGUAGE_OF.get(item) not in consumed_by(user)
    ]
    assert len(pushed) <= share * slate_length + 1e-9


@settings(max_examples=60, deadline=None)
@given(cases())
def test_quality_rises_with_the_budget_and_every_stop_is_a_valid_slate(case):
    candidates, user, prices = case
    values = []
    for looks in range(15):
        reranker = DiversityReranker(
            language_of=LANGUAGE_OF, exposure_prices=prices, exploration_share=0.5, clock=BudgetClock(looks)
        )
        answer = reranker.rerank(candidates, user, 0.0)
        assert sorted(answer.item_ids) == sorted(candidates.item_ids)
        assert (np.diff(answer.scores) <= 0).all()
        values.append(objective(reranker, candidates, user, answer, prices))
    assert (np.diff(values) >= -1e-12).all()
    unhurried = DiversityReranker(language_of=LANGUAGE_OF, exposure_prices=prices, exploration_share=0.5)
    whole = unhurried.rerank(candidates, user, 0.0)
    assert values[-1] == pytest.approx(objective(unhurried, candidates, user, whole, prices))


def objective(reranker, candidates, user, answer, prices):
    shown = answer.item_ids[:10]
    positions = [candidates.item_ids.index(item) for item in shown]
    relevance = reranker.request(candidates, user).relevance
    value = slate_values(relevance, min(10, len(candidates)))[positions].sum()
    return value + sum(prices.get(LANGUAGE_OF.get(item, ""), 0.0) for item in shown)


@pytest.mark.parametrize("budget_ms", [0.0, 15.0])
def test_it_stops_at_its_budget(budget_ms):
    """A clock on which every look takes 4 ms: a budget of 15 ms is over at the fifth."""
    looks = []

    def clock():
        looks.append(None)
        return 0.004 * len(looks)

    rng = np.random.default_rng(0)
    candidates = Candidates.from_scores(ITEMS, 0.01 * rng.normal(size=len(ITEMS)))
    user = UserState("u", history=ITEMS[:10])
    prices = {"ar": 0.0, "de": 0.5, "en": 0.0, "fi": 0.5, "sw": 0.5}
    reranker = DiversityReranker(
        language_of=LANGUAGE_OF, exposure_prices=prices, latency_budget_ms=budget_ms, clock=clock
    )
    answer = reranker.rerank(candidates, user, 0.0)
    assert len(looks) == (2 if budget_ms == 0.0 else 5)
    assert (answer is candidates) is (budget_ms == 0.0)


@pytest.mark.parametrize(
    ("current_latency_ms", "fallback_mode", "skipped"),
    [
        (0.0, True, False),
        (SKIP_ABOVE_MS, True, False),
        (SKIP_ABOVE_MS + 0.001, True, True),
        (1e9, True, True),
        (SKIP_ABOVE_MS + 0.001, False, False),
        (1e9, False, False),
    ],
)
def test_late_requests_are_left_alone_in_fallback_mode(current_latency_ms, fallback_mode, skipped):
    rng = np.random.default_rng(0)
    candidates = Candidates.from_scores(ITEMS, 0.01 * rng.normal(size=len(ITEMS)))
    reranker = DiversityReranker(0.3, 15.0, 1.0, fallback_mode, language_of=LANGUAGE_OF)
    answer = reranker.rerank(candidates, UserState("u", history=ITEMS[:10]), current_latency_ms)
    assert (answer is candidates) is skipped


def test_it_is_skipped_above_85_ms():
    assert SKIP_ABOVE_MS == 85.0


def test_it_says_whether_the_clock_had_a_part():
    candidates = Candidates.from_scores(ITEMS[:100], -np.arange(100.0) / 50.0)
    user = UserState("u", Segment(language="en"))
    prices = {"sw": 0.5, "fi": 0.4}

    def reranked(looks, current_latency_ms=0.0):
        reranker = DiversityReranker(
            language_of=LANGUAGE_OF, exposure_prices=prices, clock=BudgetClock(looks), exploration_share=1.0
        )
        return reranker.rerank_in_time(candidates, user, current_latency_ms, slate_length=10)

    whole, in_full = reranked(1_000)
    assert in_full
    assert whole.item_ids != candidates.item_ids
    for looks in (0, 1, 2):
        cut, in_full = reranked(looks)
        assert not in_full
        assert cut.item_ids != whole.item_ids
    assert reranked(1_000, SKIP_ABOVE_MS + 1.0) == (candidates, False)
