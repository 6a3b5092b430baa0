from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.world.catalogue import quotas
from services.recommendations.world.labels import COUNTRIES, LANGUAGES, TOPICS
from services.recommendations.world.settings import MINIMUM_ITEMS, START_SECONDS, WorldSettings
from services.recommendations.world.truth import SUCCESSORS
from services.recommendations.world.world import World, build_world, draw_cohort, draw_past


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(WorldSettings(users=2_000, items=2_000, seed=3))


@pytest.mark.parametrize("seed", range(5))
def test_the_smallest_catalogue_has_every_language_from_the_first_day(seed: int):
    catalogue = build_world(WorldSettings(users=1, items=MINIMUM_ITEMS, seed=seed)).catalogue
    out = catalogue.published(START_SECONDS)
    assert set(catalogue.languages[out]) == set(range(len(LANGUAGES)))


def test_quotas_add_up_and_leave_nobody_out():
    counts = quotas(np.array([1000.0, 1.0, 1.0]), 10)
    assert counts.sum() == 10
    assert counts.tolist() == [8, 1, 1]


def test_labels_are_sorted_so_that_codes_agree_with_the_catalogue():
    assert list(LANGUAGES) == sorted(LANGUAGES)
    assert list(TOPICS) == sorted(TOPICS)
    assert {language for _, language, _ in COUNTRIES} == set(LANGUAGES)


def test_an_item_has_its_creator_s_language_and_distinct_topics(world: World):
    catalogue = world.catalogue
    assert (catalogue.creator_languages[catalogue.creators] == catalogue.languages).all()
    assert (catalogue.topics[:, 0] != catalogue.topics[:, 1]).all()
    assert (catalogue.topics[:, 0] >= 0).all()


def test_some_items_and_users_arrive_during_the_window(world: World):
    end = world.settings.end_seconds
    for times in (world.catalogue.published_at, world.users.signed_up_at):
        share = ((times >= START_SECONDS) & (times < end)).mean()
        assert 0.1 < share < 0.4
        assert times.max() < end


def test_a_segment_says_something_about_taste_but_not_all(world: World):
    tastes, countries = world.user_truth.tastes, world.users.countries
    cosine = tastes @ tastes.T
    same = countries[:, None] == countries[None, :]
    np.fill_diagonal(same, False)
    within, between = cosine[same].mean(), cosine[~same].mean()
    assert between + 0.03 < within < 0.6


def test_users_want_one_or_two_languages(world: World):
    wanted = (world.user_truth.language_logits > -2.0).sum(axis=1)
    assert set(wanted) == {1, 2}


def test_interest_moves_on_to_other_topics(world: World):
    successors = world.effects.successors
    assert successors.shape == (len(TOPICS), SUCCESSORS)
    assert (successors != np.arange(len(TOPICS))[:, None]).all()


def test_the_past_belongs_to_old_users_and_names_published_items_once(world: World):
    past = draw_past(world)
    assert (world.users.signed_up_at[past.users] < START_SECONDS).all()
    assert world.catalogue.published(START_SECONDS)[past.items].all()
    assert len(np.unique(past.users * len(world.catalogue) + past.items)) == len(past.users)


def test_a_cohort_s_users_do_not_depend_on_its_size(world: World):
    small, small_truth = draw_cohort(world, 10, "arm")
    large, large_truth = draw_cohort(world, 1_500, "arm")
    assert small.user_ids == large.user_ids[:10]
    assert (small_truth.tastes == large_truth.tastes[:10]).all()
    assert (small.signed_up_at >= world.settings.end_seconds).all()
    other, _ = draw_cohort(world, 10, "other")
    assert not set(other.user_ids) & set(small.user_ids)
