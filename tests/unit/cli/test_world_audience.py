from __future__ import annotations

import pytest

from services.cli.demo.audience import Visit
from services.cli.demo.world_audience import WorldAudience
from services.recommendations.world.environment import WorldEnvironment
from services.recommendations.world.settings import WorldSettings
from streamrec.contracts.events import InteractionKind


@pytest.fixture(scope="module")
def audience():
    settings = WorldSettings(users=40, items=300, seed=5)
    return WorldAudience(WorldEnvironment(settings, new_users=10), known_users=40, new_users=10)


def test_users_are_those_of_the_world(audience):
    assert len(set(audience.known_users())) == 40
    user_id, context = audience.new_user(3)
    assert user_id not in audience.known_users()
    assert set(context) == {"country", "language", "age_band", "signup_channel"}
    assert audience.new_user(3) == (user_id, context)


def test_responses_become_events_of_the_http_api(audience):
    known_items = audience._environment._catalogue.item_ids
    events = []
    for number in range(30):
        slate = tuple(known_items[number * 10 : number * 10 + 10])
        for user_id in audience.known_users()[:5]:
            events += audience.respond(Visit(user_id, True, number, {}), slate, f"r{number}")
    assert events, "nobody clicked on anything in 150 slates"
    for event in events:
        assert event.item_id in known_items
        assert InteractionKind(event.kind).positive
        assert event.value > 0
        assert event.request_id.startswith("r")
    assert len({event.event_id for event in events}) == len(events)


def test_the_same_visit_has_the_same_response(audience):
    slate = audience._environment._catalogue.item_ids[:20]
    visit = Visit(audience.known_users()[0], True, 7, {})
    first, second = (
        [(event.item_id, event.kind) for event in audience.respond(visit, slate, "r")] for _ in range(2)
    )
    assert first == second


def test_later_visits_have_responses_of_their_own(audience):
    slate = audience._environment._catalogue.item_ids[:200]
    user_id = audience.known_users()[0]
    answers = {
        tuple(event.item_id for event in audience.respond(Visit(user_id, True, number, {}), slate, "r"))
        for number in range(10)
    }
    assert len(answers) > 1
