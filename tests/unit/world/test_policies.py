from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.world.labels import LANGUAGES
from services.recommendations.world.policies import DayLog, Observation, PopularityThenRelevance
from services.recommendations.world.seen_filter import SeenFilter
from services.recommendations.world.settings import START_SECONDS, WorldSettings
from services.recommendations.world.world import World, build_world

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(WorldSettings(users=50, items=3_000, seed=2))


@pytest.fixture(scope="module")
def policy(world: World) -> PopularityThenRelevance:
    counts = np.random.default_rng(3).lognormal(1.0, 1.5, len(world.catalogue))
    return PopularityThenRelevance(world.catalogue, counts, START_SECONDS)


def observe(world: World, histories: list[list[int]], shown: list[list[int]] | None = None) -> Observation:
    count = len(histories)
    lengths = np.array([len(history) for history in histories])
    padded = np.full((count, max(1, lengths.max())), -1, dtype=np.int32)
    seen = SeenFilter(count)
    for user, history in enumerate(histories):
        padded[user, : len(history)] = history
        seen.add(np.full(len(history), user), np.array(history, dtype=np.int32))
    return Observation(
        now_seconds=START_SECONDS,
        users=np.arange(count),
        table=world.users,
        histories=padded,
        lengths=lengths,
        shown=np.array(shown if shown else [[] for _ in histories], dtype=np.int32),
        published=world.catalogue.published(START_SECONDS),
        seen=seen,
    )


def of_language(world: World, language: str, count: int) -> list[int]:
    rows = np.flatnonzero(
        (world.catalogue.languages == LANGUAGES.index(language)) & world.catalogue.published(START_SECONDS)
    )
    return rows[:count].tolist()


def test_new_users_all_get_the_most_popular(world: World, policy: PopularityThenRelevance):
    slate = policy.recommend(observe(world, [[], [], []]), 10, RNG)
    assert (slate == slate[0]).all()
    best = int(slate[0, 0])
    other = policy.recommend(observe(world, [[best]]), 10, RNG)
    assert best not in other
    assert other[0, :9].tolist() == slate[0, 1:].tolist()


def test_from_five_interactions_on_the_history_decides(world: World, policy: PopularityThenRelevance):
    turkish = of_language(world, "tr", 5)
    popular = policy.recommend(observe(world, [[]]), 10, RNG)
    four, five = policy.recommend(observe(world, [turkish[:4], turkish]), 10, RNG)
    assert four.tolist() == [row for row in popular[0].tolist() if row not in turkish][:10]
    languages = world.catalogue.languages[five]
    assert (languages == LANGUAGES.index("tr")).mean() >= 0.6


def test_pages_hold_nothing_consumed_shown_unpublished_or_twice(
    world: World, policy: PopularityThenRelevance
):
    histories = [of_language(world, "en", 40), of_language(world, "es", 7), []]
    first = policy.recommend(observe(world, histories), 10, RNG)
    second = policy.recommend(observe(world, histories, first.tolist()), 10, RNG)
    for user, history in enumerate(histories):
        pages = np.concatenate([first[user], second[user]])
        pages = pages[pages >= 0]
        assert len(pages) > 10
        assert len(set(pages.tolist())) == len(pages)
        assert not set(pages.tolist()) & set(history)
        assert world.catalogue.published(START_SECONDS)[pages].all()


def test_a_day_s_interactions_raise_popularity(world: World):
    policy = PopularityThenRelevance(world.catalogue, np.ones(len(world.catalogue)), START_SECONDS)
    star = int(np.flatnonzero(world.catalogue.published(START_SECONDS))[17])
    items = np.full(100, star, dtype=np.int32)
    policy.end_of_day(DayLog(START_SECONDS + 86_400, np.arange(100), items))
    assert policy.recommend(observe(world, [[]]), 10, RNG)[0, 0] == star


def test_the_policy_after_a_log_is_the_policy_that_learned_day_by_day(world: World):
    rng = np.random.default_rng(4)
    items = rng.integers(len(world.catalogue), size=6_000).astype(np.int32)
    seconds = np.sort(START_SECONDS + rng.integers(3 * 86_400, size=6_000))
    daily = PopularityThenRelevance(world.catalogue, np.zeros(len(world.catalogue)), START_SECONDS)
    for day in range(3):
        end = START_SECONDS + (day + 1) * 86_400
        today = (seconds >= end - 86_400) & (seconds < end)
        daily.end_of_day(DayLog(end, np.zeros(today.sum(), dtype=np.int64), items[today]))
    at_once = PopularityThenRelevance.after_log(world.catalogue, items, seconds, START_SECONDS + 3 * 86_400)
    observation = observe(world, [[], of_language(world, "fr", 9)])
    assert (daily.recommend(observation, 10, RNG) == at_once.recommend(observation, 10, RNG)).all()
