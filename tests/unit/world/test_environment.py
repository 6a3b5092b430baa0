from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.world.environment import MAXIMUM_SLATE, WorldEnvironment
from services.recommendations.world.settings import WorldSettings
from services.recommendations.world.truth import UserTruth
from services.recommendations.world.world import build_world
from streamrec.contracts.errors import InvalidInputError, NotFoundError
from streamrec.contracts.events import InteractionKind

SETTINGS = WorldSettings(users=200, items=1_000, seed=8)


@pytest.fixture(scope="module")
def environment() -> WorldEnvironment:
    return WorldEnvironment(SETTINGS, new_users=300)


def slate(count: int, seed: int = 0) -> list[str]:
    rows = np.random.default_rng(seed).permutation(SETTINGS.items)[:count]
    return [f"item-{row:07d}" for row in rows]


def test_the_same_request_gets_the_same_answer_in_another_environment(environment: WorldEnvironment):
    other = WorldEnvironment(SETTINGS, new_users=20)
    users = [user.user_id for user in [*environment.known_users(20), *environment.new_users(20)]]
    requests = [(user_id, slate(100, seed), seed) for user_id in users for seed in range(3)]
    answers = [environment.respond(*request) for request in requests]
    assert answers == [other.respond(*request) for request in reversed(requests)][::-1]
    assert any(answers)
    again = [environment.respond(user_id, items, number + 100) for user_id, items, number in requests]
    assert again != answers


def test_responses_name_shown_items_at_their_position(environment: WorldEnvironment):
    items = slate(MAXIMUM_SLATE)
    responses = [
        response
        for user in environment.new_users(300)
        for response in environment.respond(user.user_id, items, 1)
    ]
    assert len(responses) > 50
    for response in responses:
        assert items[response.position] == response.item_id
        assert np.isfinite(response.value)
        assert response.value >= 0
    assert {response.kind for response in responses} <= {
        InteractionKind.CLICK,
        InteractionKind.PLAY,
        InteractionKind.COMPLETE,
    }


def test_early_positions_are_looked_at_more(environment: WorldEnvironment):
    positions = [
        response.position
        for number in range(4)
        for user in environment.new_users(300)
        for response in environment.respond(user.user_id, slate(10, number), number)
    ]
    counts = np.bincount(positions, minlength=10)
    assert counts[:3].sum() > 1.5 * counts[7:].sum()


def test_reactions_follow_the_hidden_taste():
    world = build_world(SETTINGS)
    environment = WorldEnvironment(SETTINGS, new_users=0)
    truth: UserTruth = world.user_truth
    score = truth.tastes @ world.items.vectors.T * 5 + truth.language_logits[:, world.catalogue.languages]
    order = np.argsort(-score, axis=1)
    clicks = {"best": 0, "worst": 0}
    for row, user_id in enumerate(world.users.user_ids):
        for name, rows in (("best", order[row, :10]), ("worst", order[row, -10:])):
            clicks[name] += len(environment.respond(user_id, [f"item-{item:07d}" for item in rows], 0))
    assert clicks["best"] > 100
    assert clicks["worst"] < 0.02 * clicks["best"]


def test_new_users_have_segments_and_ids_that_no_log_knows(environment: WorldEnvironment):
    new = environment.new_users(300)
    assert len({user.user_id for user in new}) == 300
    assert not {user.user_id for user in new} & {user.user_id for user in environment.known_users(10_000)}
    assert len({user.segment.country for user in new}) > 5
    assert len(environment.known_users(10_000)) == SETTINGS.users


def test_an_empty_page_gets_no_reaction(environment: WorldEnvironment):
    assert environment.respond("user-0000000", [], 0) == []


def test_what_is_not_of_this_world_is_refused(environment: WorldEnvironment):
    with pytest.raises(NotFoundError, match="nobody"):
        environment.respond("nobody", slate(3), 0)
    with pytest.raises(NotFoundError, match="item-9999999"):
        environment.respond("user-0000000", ["item-9999999"], 0)
    with pytest.raises(InvalidInputError, match="twice"):
        environment.respond("user-0000000", ["item-0000001"] * 2, 0)
    with pytest.raises(InvalidInputError, match="at most"):
        environment.respond("user-0000000", slate(MAXIMUM_SLATE + 1), 0)
    with pytest.raises(InvalidInputError, match="count"):
        environment.new_users(301)
    with pytest.raises(InvalidInputError, match="new_users"):
        WorldEnvironment(SETTINGS, new_users=-1)


def test_no_public_attribute_shows_preferences(environment: WorldEnvironment):
    public = {name for name in dir(environment) if not name.startswith("_")}
    assert public == {"known_users", "new_users", "respond"}
