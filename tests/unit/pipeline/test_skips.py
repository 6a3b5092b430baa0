"""A skipped item is placed lower for its user, at every stage that could put it on top."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.contracts.known_user import known_user
from services.recommendations.contracts.rungs import Rung
from services.recommendations.gateway.impressions import impression_of
from services.recommendations.pipeline.hand_over import HandOver
from services.recommendations.pipeline.offline import OfflinePipeline
from services.recommendations.pipeline.pipeline import PipelineSettings
from services.recommendations.pipeline.redraw import SlateDiffersError, check_redraw
from services.recommendations.pipeline.skips import SkipDiscount
from streamrec.contracts.conventions import HISTORY_LIMIT
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.events import InteractionKind
from streamrec.events.records import from_json, to_json
from streamrec.features.user_actions import UserAction, UserActivity
from tests.unit.pipeline.conftest import ScriptedStage
from tests.unit.pipeline.test_pipeline import AT_ONCE, KNOWN, recommend

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEW = UserState("new", Segment(language="fi"))
HALF_LIFE_HOURS = int(24 * SkipDiscount().half_life_days)


class InThatOrder(ScriptedStage):
    """Re-ranking that changes nothing."""

    async def rerank(self, candidates, _user, _current_latency_ms, _slate_length):
        return await self._reply(candidates)


@pytest.fixture
def stages(stages):
    stages.reranking = InThatOrder("reranking", stages.reranking.catalogue, version=4)
    return stages


def skipping(user, *ages_hours, item_id):
    return replace(user, skipped=(item_id,) * len(ages_hours), skip_ages_hours=ages_hours)


def act(kind, item_id="x", hours_ago=0.0):
    return UserAction(item_id, InteractionKind(kind), NOW - timedelta(hours=hours_ago))


def state(*actions):
    return known_user("u", Segment(), UserActivity().with_actions(actions), NOW)


def place(stages, item_table, user, item_id, k=30):
    return recommend(stages, item_table, user, k).item_ids.index(item_id)


@pytest.mark.parametrize("user", [KNOWN, NEW], ids=["known", "new"])
def test_what_stood_first_stands_lower_after_a_skip_and_is_still_shown(stages, item_table, user):
    first, second = recommend(stages, item_table, user).item_ids[:2]
    after = recommend(stages, item_table, skipping(user, 0, item_id=first), 20)
    assert after.item_ids[0] == second
    assert after.item_ids.index(first) == 7
    assert after.rung is Rung.RANKED


@pytest.mark.parametrize("user", [KNOWN, NEW], ids=["known", "new"])
def test_a_repeated_skip_lowers_more_and_an_old_one_less(stages, item_table, user):
    first = recommend(stages, item_table, user).item_ids[0]
    fresh, twice, old, ancient = (
        place(stages, item_table, skipping(user, *ages, item_id=first), first)
        for ages in ((0,), (0, 0), (HALF_LIFE_HOURS,), (20 * HALF_LIFE_HOURS,))
    )
    assert twice > fresh > old > ancient == 0


@pytest.mark.parametrize(
    ("faults", "rung"),
    [
        (("ranking",), Rung.RETRIEVAL_ORDER),
        (("reranking",), Rung.RANKED),
        (("retrieval",), Rung.POPULAR_IN_LANGUAGE),
    ],
)
def test_a_skip_lowers_at_every_step_of_the_ladder(stages, item_table, faults, rung):
    def ask(user):
        for stage in faults:
            getattr(stages, stage).faults = [ValueError("down")]
        return recommend(stages, item_table, user)

    first, second = ask(KNOWN).item_ids[:2]
    after = ask(skipping(KNOWN, 0, item_id=first))
    assert after.rung is rung
    assert after.item_ids[0] == second
    assert first not in after.item_ids
    assert len(set(after.item_ids)) == 5
    assert list(after.scores) == sorted(after.scores, reverse=True)


def test_who_has_seen_everything_is_shown_what_was_not_skipped_since(stages, item_table):
    everything = item_table.catalogue.item_ids
    user = replace(NEW, history=everything)
    first, second = recommend(stages, item_table, user).item_ids[:2]
    after = recommend(stages, item_table, skipping(user, 0, item_id=first))
    assert after.item_ids[0] == second
    assert len(after.item_ids) == 5


def test_the_last_word_counts():
    assert state(act("skip", hours_ago=50), act("skip", hours_ago=2.5)).skip_ages_hours == (50, 2)
    after_play = state(act("skip", hours_ago=2), act("play", hours_ago=1))
    assert (after_play.skipped, after_play.skip_ages_hours) == ((), ())
    assert state(act("play", hours_ago=2), act("skip", hours_ago=1)).skipped == ("x",)
    assert state(act("play", hours_ago=2), act("skip", "y", 3)).skipped == ("y",)


def test_interest_that_a_dislike_took_back_is_no_history_and_the_item_stays_away():
    taken_back = state(act("play", "a", 3), act("play", hours_ago=2), act("dislike", hours_ago=2))
    assert (taken_back.history, taken_back.disliked) == (("a",), ("x",))
    liked_again = state(act("dislike", hours_ago=2), act("like", hours_ago=1))
    assert (liked_again.history, liked_again.disliked) == (("x",), ("x",))
    assert "x" in liked_again.not_shown


def test_a_clock_that_runs_ahead_makes_no_negative_age():
    assert state(act("skip", hours_ago=-0.01)).skip_ages_hours == (0,)


def test_the_history_is_no_longer_than_it_may_be():
    actions = [act("play", f"i{number}", 500 - number) for number in range(HISTORY_LIMIT + 5)]
    assert state(*actions).history == tuple(f"i{number}" for number in range(5, HISTORY_LIMIT + 5))


def test_a_drawn_slate_with_skips_is_drawn_again_from_what_its_impression_keeps(stages, item_table):
    pipeline = OfflinePipeline(stages.as_stages(), item_table, AT_ONCE)
    first = pipeline.recommend(NEW, 5, "r").item_ids[0]
    user = skipping(NEW, 3, 30, item_id=first)
    answer = pipeline.recommend(user, 5, "r")
    impression = from_json(to_json(impression_of("r", user, answer, NOW, 1.0)))
    assert check_redraw(pipeline, impression) == user
    undiscounted = OfflinePipeline(
        stages.as_stages(), item_table, PipelineSettings(AT_ONCE.hand_over, skips=SkipDiscount(factor=1.0))
    )
    with pytest.raises(SlateDiffersError):
        check_redraw(undiscounted, impression)


def test_the_scores_still_fall_and_nothing_is_lost():
    found = Candidates(("a", "b", "c", "d"), np.array([9.0, 3.0, 2.0, 1.0], np.float32))
    lowered = SkipDiscount(factor=3.0).lowered(found, skipping(NEW, 0, item_id="a"))
    assert lowered.item_ids == ("b", "c", "a", "d")
    assert lowered.scores.tolist() == [3.0, 2.0, 2.0, 1.0]
    assert lowered.scores.dtype == np.float32


def test_without_a_skip_of_these_items_the_very_same_candidates_come_back():
    found = Candidates(("a", "b"), np.array([2.0, 1.0], np.float32))
    discount = SkipDiscount()
    assert discount.lowered(found, NEW) is found
    assert discount.lowered(found, skipping(NEW, 0, item_id="elsewhere")) is found
    # A state that was kept before skips counted.
    assert discount.lowered(found, replace(NEW, skipped=("a",))) is found


@given(
    skips=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2000)), max_size=20),
    factor=st.floats(1.0, 100.0),
)
def test_what_was_not_skipped_keeps_its_order_and_only_what_was_moves_down(skips, factor):
    item_ids = tuple(f"i{row}" for row in range(10))
    user = replace(
        NEW,
        skipped=tuple(f"i{row}" for row, _ in skips),
        skip_ages_hours=tuple(age for _, age in skips),
    )
    found = Candidates(item_ids, np.linspace(1.0, 0.0, 10, dtype=np.float32))
    lowered = SkipDiscount(factor=factor).lowered(found, user).item_ids
    assert sorted(lowered) == sorted(item_ids)
    others = [item_id for item_id in lowered if item_id not in user.skipped]
    assert others == sorted(others)
    assert all(lowered.index(item_id) <= item_ids.index(item_id) for item_id in others)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"factor": 0.9}, "skips.factor"),
        ({"factor": np.inf}, "skips.factor"),
        ({"half_life_days": 0.0}, "skips.half_life_days"),
        ({"half_life_days": np.nan}, "skips.half_life_days"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, field):
    with pytest.raises(InvalidInputError) as raised:
        SkipDiscount(**settings)
    assert raised.value.field == field


def test_ages_belong_to_skips():
    with pytest.raises(ValueError, match="1 skips with 2 ages"):
        UserState("u", skipped=("a",), skip_ages_hours=(1, 2))


def test_a_user_between_cold_start_and_ranking_sees_it_lower_too(stages, item_table):
    pipeline = OfflinePipeline(stages.as_stages(), item_table, PipelineSettings(HandOver(kappa=6.0)))
    before = pipeline.recommend(KNOWN, 5, "r")
    assert {"cold_start", "retrieval", "ranking"} <= before.model_versions.keys()
    first, second = before.item_ids[:2]
    after = pipeline.recommend(skipping(KNOWN, 0, item_id=first), 5, "r")
    assert after.item_ids[0] == second
    assert first not in after.item_ids
