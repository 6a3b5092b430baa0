from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.evaluation.slate_exposure import (
    SlateRequest,
    compare_slates,
    gini_interval,
)
from streamrec.contracts.errors import InvalidInputError
from streamrec.datasets.catalogue import Catalogue
from streamrec.stats.inequality import gini

ITEMS = 60
NAMES = tuple(f"i{item:02}" for item in range(ITEMS))
# Items 0-29 are English, 30-49 French, 50-59 of an unknown language and creator.
CATALOGUE = Catalogue(
    item_ids=NAMES,
    titles=NAMES,
    creator_ids=tuple("unknown" if item >= 50 else f"c{item // 10}" for item in range(ITEMS)),
    creator_languages=tuple("en" if item < 30 else "fr" if item < 50 else "unknown" for item in range(ITEMS)),
    topics=((),) * ITEMS,
    published_at=np.full(ITEMS, "NaT", dtype="datetime64[s]"),
)


class HalfFrench:
    """Puts five French items behind the first five."""

    def rerank(self, candidates, *_, **__):
        kept = candidates.item_ids[:5]
        french = [item for item in candidates.item_ids if 30 <= int(item[1:]) < 50][:5]
        rest = [item for item in candidates.item_ids if item not in {*kept, *french}]
        return Candidates((*kept, *french, *rest), candidates.scores)


class Unchanged:
    def rerank(self, candidates, *_, **__):
        return candidates


def request(number, target, *, first=0, weight=1.0, is_shortened=False, history=()):
    order = np.roll(np.arange(ITEMS), -first)
    candidates = Candidates(tuple(NAMES[item] for item in order), -np.arange(ITEMS, dtype=np.float32))
    return SlateRequest(
        UserState(f"u{number:03}", history=history), candidates, NAMES[target], weight, is_shortened
    )


def test_exposure_and_loss_of_a_small_case():
    # Half of the users find their item at place 0, which stays; half at place 9, which is pushed out.
    requests = [request(number, 0 if number % 2 else 9) for number in range(40)]
    found = compare_slates(HalfFrench(), requests, CATALOGUE, seed=1).traffic
    assert found.before.language_gini.value == 0.5  # all English, of two known languages
    assert found.after.language_gini.value == 0.0  # five each
    late = 1 / np.log2(11)
    assert found.before.ndcg.value == pytest.approx((1 + late) / 2)
    assert found.after.ndcg.value == pytest.approx(0.5)
    assert found.ndcg_loss.value == pytest.approx(late / (1 + late))
    assert found.ndcg_loss.low < found.ndcg_loss.value < found.ndcg_loss.high
    # One of five known creators before, two after.
    assert (found.before.creators.exposed_share, found.after.creators.exposed_share) == (0.2, 0.4)
    assert found.to_json()["after"]["creator_gini"] == pytest.approx(0.6)


def test_no_change_costs_nothing_for_certain():
    found = compare_slates(
        Unchanged(), [request(number, number % 9) for number in range(30)], CATALOGUE, seed=1
    )
    loss = found.traffic.ndcg_loss
    assert (loss.value, loss.low, loss.high) == (0.0, 0.0, 0.0)


def test_requests_count_by_their_weight_and_each_kind_of_user_has_figures():
    known = [request(number, 0, weight=3.0) for number in range(10)]
    new = [request(number, 0, first=30, weight=1.0, is_shortened=True) for number in range(10)]
    found = compare_slates(Unchanged(), [*known, *new], CATALOGUE, seed=1)
    # English 3/4 and French 1/4 of the exposure; only the item of whole histories is found.
    assert found.traffic.before.language_gini.value == pytest.approx(0.25)
    assert found.traffic.before.ndcg.value == pytest.approx(0.75)
    assert found.whole_histories.before.ndcg.value == 1.0
    assert found.shortened_histories.before.ndcg.value == 0.0
    assert found.shortened_histories.ndcg_loss is None
    assert (found.traffic.users, found.shortened_histories.users) == (10, 10)
    assert compare_slates(Unchanged(), known, CATALOGUE, seed=1).shortened_histories is None


def test_what_cannot_be_found_is_left_out():
    seen = request(1, 0, history=(NAMES[0],))
    found = compare_slates(Unchanged(), [seen, request(2, 0)], CATALOGUE, seed=1)
    assert found.traffic.users == 1
    with pytest.raises(InvalidInputError, match="requests"):
        compare_slates(Unchanged(), [seen], CATALOGUE, seed=1)


def test_the_interval_of_a_gini_is_over_users():
    rng = np.random.default_rng(2)
    exposure = rng.multinomial(10, [0.7, 0.2, 0.1], size=300).astype(float)
    found = gini_interval(exposure, seed=3)
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.05
    # The same users four times over: the value stays, and so does what four times the users would tell.
    wider = gini_interval(exposure[:75], seed=3)
    assert (wider.high - wider.low) / (found.high - found.low) == pytest.approx(2.0, rel=0.25)


def test_the_interval_of_a_gini_covers_as_often_as_it_says():
    rng, shares = np.random.default_rng(4), np.array([0.4, 0.2, 0.12, 0.1, 0.08, 0.06, 0.04])
    true, inside = gini(shares), 0
    for draw in range(200):
        # Users stick to languages, so their slates are far from independent draws.
        home = rng.choice(len(shares), p=shares, size=120)
        mixed = 0.5 * np.eye(len(shares))[home] + 0.5 * shares
        found = gini_interval(rng.multinomial(10, mixed).astype(float), seed=draw)
        inside += found.low <= true <= found.high
    assert 0.91 <= inside / 200 <= 0.985


def test_nothing_shown_or_one_language_has_no_gini():
    assert gini_interval(np.zeros((5, 3)), seed=1) is None
    assert gini_interval(np.ones((5, 1)), seed=1) is None
