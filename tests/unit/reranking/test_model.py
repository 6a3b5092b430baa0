from __future__ import annotations

import itertools

import numpy as np
import pytest

from services.recommendations.contracts.candidates import Candidates, Reranker, Segment, UserState
from services.recommendations.reranking.calibration import Calibration, ListCalibration
from services.recommendations.reranking.model import SETTINGS_FILE, DiversityReranker
from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.contracts.items import Item
from streamrec.items.memory_item_log import MemoryItemLog
from streamrec.items.state import ItemState
from streamrec.stats.exposure import language_exposure
from streamrec.stats.inequality import gini

CALIBRATION = Calibration((ListCalibration(1.2), ListCalibration(0.6, 0.3), ListCalibration(0.7, 0.4, 0.9)))
LANGUAGES = ("de", "en", "fi", "sw")
LANGUAGE_OF = {f"item-{i}": LANGUAGES[min(i % 10, 3)] for i in range(500)}
EVERYTHING = UserState("u", history=tuple(f"item-{i}" for i in range(10)))


def candidates_of(count, seed=0):
    rng = np.random.default_rng(seed)
    ids = tuple(f"item-{i}" for i in rng.permutation(500)[:count])
    return Candidates.from_scores(ids, rng.gumbel(size=count))


def a_reranker(**settings):
    """One that no busy machine can cut off, but where a test says otherwise."""
    prices = {"de": 0.02, "en": 0.02, "fi": 0.02}
    unhurried = {"latency_budget_ms": 60_000.0, "language_of": LANGUAGE_OF, "exposure_prices": prices}
    return DiversityReranker(**{**unhurried, **settings})


class SteppingClock:
    """Each look at it is one step later."""

    def __init__(self, step_ms):
        self.now, self.step, self.looks = 0.0, step_ms / 1000.0, 0

    def __call__(self):
        self.looks += 1
        self.now += self.step
        return self.now


def test_it_is_a_reranker():
    port: Reranker = DiversityReranker(0.3, 15.0, 0.5, True)
    assert port.rerank(candidates_of(20), UserState("u"), 0.0).item_ids == candidates_of(20).item_ids


@pytest.mark.parametrize("count", [0, 1, 2, 9, 10, 11, 100, 500])
@pytest.mark.parametrize("weight", [0.0, 1.0, 1e6])
def test_the_answer_is_a_permutation_with_falling_finite_scores(count, weight):
    given = candidates_of(count)
    answer = a_reranker(diversity_weight=weight).rerank(given, EVERYTHING, 0.0)
    assert sorted(answer.item_ids) == sorted(given.item_ids)
    assert np.isfinite(answer.scores).all()
    assert (np.diff(answer.scores) <= 0).all()


@pytest.mark.parametrize("scores", [np.zeros(50), np.linspace(1e6, -1e6, 50), np.full(50, -1e30)])
def test_extreme_scores_do_no_harm(scores):
    given = Candidates(tuple(f"item-{i}" for i in range(50)), scores.astype(np.float32))
    with np.errstate(all="raise", under="ignore"):
        answer = a_reranker().rerank(given, EVERYTHING, 0.0)
    assert sorted(answer.item_ids) == sorted(given.item_ids)
    assert np.isfinite(answer.scores).all()


def test_a_late_request_is_left_alone_in_fallback_mode_only():
    given = candidates_of(100)
    assert a_reranker(fallback_mode=True).rerank(given, EVERYTHING, 85.1) is given
    assert a_reranker(fallback_mode=True).skips(85.1)
    assert not a_reranker(fallback_mode=True).skips(85.0)
    assert a_reranker(fallback_mode=True).rerank(given, EVERYTHING, 85.0).item_ids != given.item_ids
    assert a_reranker(fallback_mode=False).rerank(given, EVERYTHING, 200.0).item_ids != given.item_ids


def test_it_stops_at_its_budget_with_the_best_so_far():
    given = candidates_of(500)
    whole = a_reranker(diversity_weight=3.0).rerank(given, EVERYTHING, 0.0)
    head = set(given.item_ids[:10])
    wanted = len(set(whole.item_ids[:10]) - head)
    assert wanted >= 3
    exchanged = []
    for budget_ms in range(20):
        clock = SteppingClock(1.0)
        reranker = a_reranker(diversity_weight=3.0, latency_budget_ms=float(budget_ms), clock=clock)
        answer = reranker.rerank(given, EVERYTHING, 0.0)
        assert sorted(answer.item_ids) == sorted(given.item_ids)
        assert clock.looks - 1 <= budget_ms + 1  # a step begun may end after the budget, another never begins
        exchanged.append(len(set(answer.item_ids[:10]) - head))
        rest = [given.item_ids.index(item) for item in answer.item_ids[10:]]
        assert rest == sorted(rest)
    assert exchanged[0] == 0
    assert exchanged[-1] == wanted
    assert all(after - before in (0, 1) for before, after in itertools.pairwise(exchanged))


def test_within_the_slate_items_keep_their_order_of_relevance():
    given = candidates_of(500)
    places = [given.item_ids.index(item) for item in a_reranker().rerank(given, EVERYTHING, 0.0).item_ids]
    assert places[:10] == sorted(places[:10])
    assert places != sorted(places)


def test_exposure_evens_out_as_the_weight_grows():
    ginis = []
    for weight in (0.0, 0.01, 0.03, 0.1, 0.3, 0.5):
        reranker = a_reranker(diversity_weight=weight, exposure_prices=None)
        slates = [
            reranker.rerank(candidates_of(200, seed), EVERYTHING, 0.0).item_ids[:10] for seed in range(40)
        ]
        ginis.append(gini(language_exposure(slates, LANGUAGE_OF, LANGUAGES)))
    assert ginis == sorted(ginis, reverse=True)
    assert ginis[-1] < 0.7 * ginis[0]


@pytest.mark.parametrize(
    "user", [UserState("u", Segment(language="sw")), UserState("u"), UserState("u", history=("item-3", "?"))]
)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.2])
def test_a_user_is_not_pushed_languages_beyond_the_exploration_share(user, share):
    reranker = a_reranker(diversity_weight=1e3, exploration_share=share)
    most = 0
    for seed in range(20):
        given = candidates_of(200, seed)
        slate = reranker.rerank(given, user, 0.0).item_ids[:10]
        pushed = [item for item in slate if item not in given.item_ids[:10] and LANGUAGE_OF[item] != "sw"]
        most = max(most, len(pushed))
    assert most == round(share * 10)


def test_another_slate_length_for_one_request():
    given = candidates_of(100)
    answer = a_reranker(diversity_weight=10.0).rerank(given, EVERYTHING, 0.0, slate_length=3)
    assert set(answer.item_ids[:3]) != set(given.item_ids[:3])
    rest = [given.item_ids.index(item) for item in answer.item_ids[3:]]
    assert rest == sorted(rest)


def test_items_of_unknown_language_are_never_lifted():
    language_of = {**dict.fromkeys(LANGUAGE_OF, "sw"), "item-7": "unknown"}
    given = Candidates.from_scores(tuple(f"item-{i}" for i in [*range(100, 120), 7]), -np.arange(21.0))
    reranker = DiversityReranker(language_of=language_of, exposure_prices={"unknown": 9.0, "sw": 0.0})
    assert reranker.rerank(given, UserState("u", history=("item-7",)), 0.0) is given


def test_save_and_load_give_the_same_answers(tmp_path):
    saved = a_reranker(calibration=CALIBRATION, exploration_share=0.2)
    saved.save(tmp_path)
    loaded = DiversityReranker.load(tmp_path)
    for seed in range(5):
        given = candidates_of(300, seed)
        answer = loaded.rerank(given, EVERYTHING, 0.0)
        assert answer.item_ids == saved.rerank(given, EVERYTHING, 0.0).item_ids
    assert DiversityReranker.load(tmp_path, exposure_prices={}).exposure_prices == {}


def test_an_artifact_of_an_earlier_release_names_its_prices_otherwise(tmp_path):
    saved = a_reranker()
    saved.save(tmp_path)
    path = tmp_path / SETTINGS_FILE
    path.write_text(path.read_text().replace('"exposure_prices"', '"language_prices"'))
    assert DiversityReranker.load(tmp_path).exposure_prices == saved.exposure_prices


@pytest.mark.parametrize(
    "damage",
    ["not json", '{"format": 99}', '{"format": 2, "languages": []}'],
)
def test_a_damaged_artifact_is_refused(tmp_path, damage):
    a_reranker().save(tmp_path)
    (tmp_path / SETTINGS_FILE).write_text(damage)
    with pytest.raises(ArtifactError):
        DiversityReranker.load(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target_gini", 1.5),
        ("latency_budget_ms", -1.0),
        ("diversity_weight", float("nan")),
        ("slate_length", 0),
        ("exploration_share", 2.0),
    ],
)
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(InvalidInputError, match=field):
        DiversityReranker(**{field: value})


def test_it_knows_the_language_of_items_that_were_put_while_it_serves():
    log = MemoryItemLog()
    log.append(
        [
            Item(name, creator_language=language)
            for name, language in (("new", "sw"), ("a", "sw"), ("x", "xx"))
        ]
    )
    log.refresh()
    reranker = DiversityReranker(language_of={"a": "en", "b": "sw"}, exposure_prices={"sw": 0.5, "xx": 0.2})
    changed = reranker.with_items(log.current)
    assert [changed.languages[code] for code in changed.codes(("new", "a", "b", "x"))] == [
        "sw",
        "sw",
        "sw",
        "xx",
    ]
    assert changed.codes(("unheard-of",)).tolist() == [len(changed.languages)]
    assert changed._prices.tolist() == [0.0, 0.5, 0.2, 0.0]
    assert reranker.codes(("new", "a")).tolist() == [2, 0]
    assert reranker.with_items(ItemState()) is reranker
