from __future__ import annotations

import numpy as np
import pytest

from services.cli.demo.audience import ReplayAudience, Visit
from streamrec.datasets.catalogue import Catalogue


@pytest.fixture
def catalogue():
    topics = (("drama",), ("comedy",), ("drama", "crime"), (), ("never",))
    return Catalogue(
        item_ids=("a", "b", "c", "d", "e"),
        titles=("A", "B", "C", "D", "E"),
        creator_ids=("x",) * 5,
        creator_languages=("en",) * 5,
        topics=topics,
        published_at=np.full(5, "NaT", dtype="datetime64[s]"),
    )


@pytest.fixture
def audience(catalogue):
    return ReplayAudience(
        catalogue, np.array([3, 2, 4, 9, 0]), {"u": "c"}, known_users=("u", "v"), run="test"
    )


def test_a_known_user_plays_the_held_out_item_once(audience):
    (shown,) = audience.respond(Visit("u", True, 0, {}), ("a", "c"), "r1")
    assert (shown.item_id, shown.kind, shown.request_id) == ("c", "play", "r1")
    (not_shown,) = audience.respond(Visit("u", True, 0, {}), ("a", "b"), "r1")
    assert not_shown.request_id is None
    assert audience.respond(Visit("u", True, 1, {}), ("a", "c"), "r2") == ()
    assert audience.respond(Visit("v", True, 0, {}), ("a", "c"), "r3") == ()


def test_a_new_user_clicks_on_the_first_item_of_the_favourite_topic_and_never_twice(audience):
    user_id, context = audience.new_user(0)
    assert context == {}
    topic = audience.favourite_topic(user_id)
    matching = {"drama": ["a", "c"], "comedy": ["b"], "crime": ["c"]}[topic]
    slate = ("d", "a", "b", "c", "e")
    clicked = []
    for number in range(4):
        events = audience.respond(Visit(user_id, False, number, {}), slate, f"r{number}")
        clicked += [event.item_id for event in events]
    assert clicked == matching


def test_topics_are_drawn_by_their_share_of_the_interactions(audience):
    drawn = [audience.favourite_topic(audience.new_user(index)[0]) for index in range(600)]
    # drama 7, comedy 2, crime 4 of 13 topic counts; nobody ever touched the item of "never".
    assert set(drawn) == {"drama", "comedy", "crime"}
    assert drawn.count("drama") / 600 == pytest.approx(7 / 13, abs=0.07)
    assert drawn.count("comedy") / 600 == pytest.approx(2 / 13, abs=0.05)


def test_new_users_are_the_same_in_every_run_and_differ_from_each_other(audience):
    assert audience.new_user(3) == audience.new_user(3)
    assert audience.new_user(3)[0] != audience.new_user(4)[0]


def test_a_catalogue_without_topics_has_new_users_that_do_nothing(catalogue):
    bare = Catalogue(
        catalogue.item_ids,
        catalogue.titles,
        catalogue.creator_ids,
        catalogue.creator_languages,
        ((),) * 5,
        catalogue.published_at,
    )
    audience = ReplayAudience(bare, np.ones(5, dtype=np.int64), {}, known_users=(), run="test")
    assert audience.respond(Visit("n", False, 0, {}), ("a",), "r") == ()
