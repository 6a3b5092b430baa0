from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.ranking.candidate_features import FEATURES
from services.recommendations.ranking.catalogue_ranker import RankerAsCatalogueRanker
from services.recommendations.ranking.combination import LOGITS
from services.recommendations.ranking.model import RankingModel
from services.recommendations.training.input import TrainingInput
from streamrec.contracts.conventions import HISTORY_LIMIT

HISTORY = ("i03", "i04", "i05")


def candidates(*item_ids: str) -> Candidates:
    return Candidates(item_ids, np.linspace(1.0, 0.0, len(item_ids), dtype=np.float32))


def everything(model: RankingModel, history: tuple[str, ...] = ()) -> Candidates:
    return candidates(*(item for item in model.item_ids if item not in history))


def scores_by_item(ranked: Candidates) -> dict[str, float]:
    return dict(zip(ranked.item_ids, ranked.scores.tolist(), strict=True))


def test_returns_the_same_items_sorted_with_finite_scores(model: RankingModel):
    given = everything(model, HISTORY)
    ranked = model.rank(UserState("u", history=HISTORY), given)
    assert sorted(ranked.item_ids) == sorted(given.item_ids)
    assert np.isfinite(ranked.scores).all()
    assert (np.diff(ranked.scores) <= 0).all()
    assert ranked.scores.dtype == np.float32


def test_the_order_of_the_history_changes_the_answer(model: RankingModel):
    forward = model.rank(UserState("u", history=("i20", "i40")), everything(model))
    backward = model.rank(UserState("u", history=("i40", "i20")), everything(model))
    assert forward.item_ids.index("i41") < 3
    assert backward.item_ids.index("i21") < 3
    assert forward.item_ids != backward.item_ids


def test_score_does_not_depend_on_the_other_candidates_or_their_order(model: RankingModel):
    user = UserState("u", history=HISTORY)
    all_scores = scores_by_item(model.rank(user, everything(model, HISTORY)))
    few = scores_by_item(model.rank(user, candidates("i30", "i06", "i59")))
    for item, score in few.items():
        assert score == pytest.approx(all_scores[item], abs=1e-4)


def test_unknown_candidates_come_last_in_the_order_given(model: RankingModel):
    given = candidates("new-b", "i06", "new-a", "i40")
    ranked = model.rank(UserState("u", history=HISTORY), given)
    assert ranked.item_ids[2:] == ("new-b", "new-a")
    assert set(ranked.item_ids[:2]) == {"i06", "i40"}
    only_unknown = model.rank(UserState("u", history=HISTORY), candidates("x", "w", "y"))
    assert only_unknown.item_ids == ("x", "w", "y")


def test_no_candidates_is_an_empty_answer(model: RankingModel):
    empty = Candidates((), np.empty(0, dtype=np.float32))
    assert len(model.rank(UserState("u", history=HISTORY), empty)) == 0


def test_unknown_history_items_are_ignored(model: RankingModel):
    given = everything(model)
    plain = model.rank(UserState("u", history=HISTORY), given)
    mixed = model.rank(UserState("u", history=("gone", "i03", "gone", "i04", "i05", "gone")), given)
    assert mixed.item_ids == plain.item_ids
    np.testing.assert_array_equal(mixed.scores, plain.scores)


def test_empty_and_wholly_unknown_histories_get_the_same_answer(model: RankingModel):
    given = everything(model)
    empty = model.rank(UserState("u"), given)
    unknown = model.rank(UserState("u", history=("gone",)), given)
    np.testing.assert_array_equal(empty.scores, unknown.scores)
    assert np.isfinite(empty.scores).all()


def test_repeated_items_are_taken_as_they_come(model: RankingModel):
    ranked = model.rank(UserState("u", history=("i03",) * 50), everything(model))
    assert np.isfinite(ranked.scores).all()
    assert ranked.item_ids.index("i04") < 5


def test_of_ten_thousand_events_the_newest_count(model: RankingModel):
    pattern = tuple(f"i{step % 59:02d}" for step in range(10_000))
    given = everything(model)
    long = model.rank(UserState("u", history=pattern), given)
    cut = model.rank(UserState("u", history=pattern[-HISTORY_LIMIT:]), given)
    np.testing.assert_array_equal(long.scores, cut.scores)


def test_item_that_nobody_has_touched_is_scored_from_its_content(model: RankingModel):
    assert "i59" in model.rank(UserState("u", history=HISTORY), everything(model)).item_ids
    row = model.row_of["i59"]
    assert np.abs(model.vectors[row]).sum() > 0


def test_full_ranking_agrees_with_ranking_candidates(model: RankingModel, training: TrainingInput):
    histories = training.split.history
    users = training.split.evaluated[:10]
    lists = model.top_items(users, histories, 15)
    for user, rows in zip(users, lists, strict=True):
        history = tuple(model.item_ids[row] for row in histories.of(int(user)))
        served = model.rank(UserState("u", history=history), everything(model, history))
        assert [model.item_ids[row] for row in rows] == list(served.item_ids[:15])


def test_full_ranking_leaves_out_what_was_seen_and_pads(model: RankingModel, training: TrainingInput):
    histories = training.split.history
    users = training.split.evaluated[:5]
    lists = RankerAsCatalogueRanker(model, {}).top_items(users, histories, 1000)
    assert lists.shape == (5, len(model.item_ids))
    for user, rows in zip(users, lists, strict=True):
        listed = rows[rows >= 0]
        assert not set(listed.tolist()) & set(histories.of(int(user)).tolist())
        assert len(listed) == len(model.item_ids) - len(set(histories.of(int(user)).tolist()))
        assert (rows[len(listed) :] == -1).all()


def test_scores_of_prefixes_are_the_scores_after_each(model: RankingModel):
    history = np.random.default_rng(4).integers(len(model.item_ids), size=25)
    # The network sees ten items; longer prefixes must be cut to the newest, as when serving.
    lengths = np.array([0, 1, 4, 9, 10, 11, 25])
    together = model.prefix_scores(history, Segment(language="hi"), lengths)
    every = np.arange(len(model.item_ids))
    for row, length in zip(together, lengths, strict=True):
        np.testing.assert_allclose(
            row, model.scores(history[:length], Segment(language="hi"), every), atol=1e-4
        )


def test_the_segment_reaches_the_full_ranking(model: RankingModel, training: TrainingInput):
    place = len(LOGITS) + FEATURES.index("segment_language_match")
    kept = model.combination.weights[place].copy()
    model.combination.weights[place] = 100.0
    try:
        users = training.split.evaluated[:1]
        user_id = training.split.history.user_ids[users[0]]
        lists = RankerAsCatalogueRanker(model, {user_id: Segment(language="hi")}).top_items(
            users, training.split.history, 5
        )
        languages = [training.split.catalogue.creator_languages[row] for row in lists[0]]
        assert set(languages) == {"hi"}
    finally:
        model.combination.weights[place] = kept
