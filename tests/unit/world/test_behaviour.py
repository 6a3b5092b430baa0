from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.world.behaviour import (
    EVENTS,
    NOTHING,
    Mood,
    Reaction,
    Scene,
    attention,
    begin_session,
    browse,
    leave_probability,
    page_satisfaction,
    return_factor,
)
from services.recommendations.world.settings import BehaviourSettings, RetentionSettings, WorldSettings
from services.recommendations.world.world import World, build_world
from streamrec.contracts.events import InteractionKind

USERS = 4_000


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(WorldSettings(users=USERS, items=600, seed=5))


@pytest.fixture(scope="module")
def scene(world: World) -> Scene:
    return Scene(world.catalogue, world.effects, world.items, world.user_truth, world.settings.behaviour)


def react(scene: Scene, slate: np.ndarray, *, consumed=None, repeated=None, mood=None, seed=0) -> Reaction:
    nothing = np.zeros(slate.shape, dtype=np.bool_)
    return browse(
        scene,
        np.arange(USERS),
        slate,
        mood or Mood.blank(USERS),
        nothing if consumed is None else consumed,
        nothing if repeated is None else repeated,
        np.random.default_rng(seed),
    )


def shuffled_slates(count: int = 10) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.permuted(np.tile(np.arange(600, dtype=np.int32), (USERS, 1)), axis=1)[:, :count]


def test_the_same_items_are_clicked_less_further_down(scene: Scene):
    clicks = sum(react(scene, shuffled_slates(), seed=seed).clicked.sum(axis=0) for seed in range(5))
    expected = attention(10, scene.settings)
    assert expected[0] == 1.0
    assert np.allclose(clicks / clicks[0], expected, atol=0.12)


def test_what_has_been_consumed_and_empty_positions_are_never_clicked(scene: Scene):
    slate = shuffled_slates()
    slate[:, 3] = NOTHING
    consumed = np.zeros(slate.shape, dtype=np.bool_)
    consumed[:, 0] = True
    clicked = react(scene, slate, consumed=consumed).clicked
    assert not clicked[:, [0, 3]].any()
    assert clicked[:, 1].any()


def test_a_repeated_item_is_clicked_less(scene: Scene):
    slate = shuffled_slates()
    fresh = react(scene, slate).clicked.sum()
    again = react(scene, slate, repeated=np.ones(slate.shape, dtype=np.bool_)).clicked.sum()
    assert again < 0.5 * fresh


def test_the_topic_in_focus_and_the_last_creator_draw_clicks(scene: Scene):
    slate = shuffled_slates(1)
    blank = react(scene, slate).clicked.sum()
    focused = Mood(scene.catalogue.topics[slate[:, 0], 0].copy(), np.full(USERS, NOTHING, dtype=np.int32))
    followed = Mood(np.full(USERS, NOTHING, dtype=np.int32), scene.catalogue.creators[slate[:, 0]].copy())
    assert react(scene, slate, mood=focused).clicked.sum() > 1.5 * blank
    assert react(scene, slate, mood=followed).clicked.sum() > 1.5 * blank


def test_consuming_moves_the_mood_to_the_topic_or_its_successors(scene: Scene):
    mood = Mood.blank(USERS)
    slate = shuffled_slates(1)
    clicked = react(scene, slate, mood=mood).clicked[:, 0]
    topic = scene.catalogue.topics[slate[clicked, 0], 0]
    reachable = np.column_stack([topic, scene.effects.successors[topic]])
    assert (mood.focus[clicked, None] == reachable).any(axis=1).all()
    assert 0.3 < (mood.focus[clicked] != topic).mean() < 0.7
    assert (mood.last_creator[clicked] == scene.catalogue.creators[slate[clicked, 0]]).all()
    assert (mood.focus[~clicked] == NOTHING).all()


def test_events_follow_the_share_watched(scene: Scene):
    reaction = react(scene, shuffled_slates())
    settings = scene.settings
    assert tuple(InteractionKind(event).value for event in EVENTS) == EVENTS
    assert (reaction.events[~reaction.clicked] == -1).all()
    assert (reaction.watched[~reaction.clicked] == 0).all()
    assert (reaction.watched[reaction.events == 0] < settings.play_share).all()
    assert (reaction.watched[reaction.events == 2] >= settings.complete_share).all()
    assert set(reaction.events[reaction.clicked]) == {0, 1, 2}


def test_a_session_is_about_something_the_user_likes(scene: Scene):
    mood = Mood.blank(USERS)
    begin_session(scene, np.arange(USERS), mood, np.random.default_rng(0))
    liked = scene.users.tastes @ scene.effects.topics.T
    chosen = np.take_along_axis(liked, mood.focus[:, None].astype(int), axis=1)
    assert chosen.mean() > liked.mean() + 0.3


def test_satisfaction_keeps_users_and_a_floor_loses_some_whatever_is_shown():
    settings = RetentionSettings()
    satisfaction = np.linspace(0.0, 1.0, 50, dtype=np.float32)
    first = leave_probability(satisfaction, np.ones(50, dtype=np.int64), settings)
    later = leave_probability(satisfaction, np.full(50, 20), settings)
    assert (np.diff(first) < 0).all()
    assert (first >= settings.leave_floor).all()
    assert (first <= settings.leave_floor + settings.leave_range).all()
    assert (later < first / 3).all()
    assert (np.diff(return_factor(satisfaction, settings)) > 0).all()


def test_a_page_without_anything_consumed_does_not_satisfy():
    watched = np.array([[0.0, 0.0], [0.5, 0.0], [1.0, 1.0]], dtype=np.float32)
    reaction = Reaction(watched > 0, watched, np.zeros(watched.shape, dtype=np.int8))
    satisfaction = page_satisfaction(reaction, RetentionSettings())
    assert satisfaction[0] == 0.0
    assert 0 < satisfaction[1] < satisfaction[2] < 1


def test_attention_without_bias_is_even():
    assert (attention(4, BehaviourSettings(position_bias_exponent=0.0)) == 1.0).all()
