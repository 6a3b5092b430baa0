from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from services.recommendations.contracts.candidates import Segment
from services.recommendations.gateway.user_states import UserStates, UserStateSettings
from streamrec.contracts.conventions import HISTORY_LIMIT
from streamrec.contracts.errors import DependencyError, OverloadedError
from streamrec.features.store import UserFeatures

EARLIER = datetime(2024, 5, 1, tzinfo=UTC)
LATER = datetime(2024, 6, 1, tzinfo=UTC)


def run(coroutine):
    return asyncio.run(coroutine)


def test_the_store_is_believed_where_it_knows_something(store):
    store.users["half"] = UserFeatures("half", "DE", "unknown", "unknown", "ads", (), None)

    async def read():
        return await UserStates(store).get("half", Segment("FI", "fi", "25-34", "organic"))

    assert run(read()).segment == Segment("DE", "fi", "25-34", "ads")


def test_a_row_is_read_once_until_the_user_acts(store):
    async def act():
        users = UserStates(store)
        for _ in range(3):
            await users.get("known", Segment())
        reads = store.reads
        await users.add_to_history("known", ["item-20"], LATER)
        return reads, await users.get("known", Segment())

    reads, state = run(act())
    assert reads == 1
    assert state.history[-1] == "item-20"


def test_unknown_users_are_cached_too_until_they_act(store):
    async def act():
        users = UserStates(store)
        for _ in range(3):
            await users.get("fresh", Segment())
        reads = store.reads
        await users.add_to_history("fresh", ["item-01"], LATER)
        return reads, await users.get("fresh", Segment())

    reads, state = run(act())
    assert reads == 1
    assert state.history == ("item-01",)


def test_without_a_cache_every_request_reads(store):
    async def act():
        users = UserStates(store, UserStateSettings(cache_lifetime_s=0.0))
        for _ in range(3):
            await users.get("known", Segment())

    run(act())
    assert store.reads == 3


def test_an_event_that_arrives_late_does_not_turn_time_back(store):
    async def act():
        users = UserStates(store)
        await users.add_to_history("fresh", ["item-01"], LATER)
        await users.add_to_history("fresh", ["item-02"], EARLIER)

    run(act())
    assert store.users["fresh"].updated_at == LATER
    assert store.users["fresh"].history == ("item-01", "item-02")


def test_histories_are_bounded(store):
    async def act():
        await UserStates(store).add_to_history("fresh", [f"i{n}" for n in range(HISTORY_LIMIT + 5)], LATER)

    run(act())
    assert len(store.users["fresh"].history) == HISTORY_LIMIT
    assert store.users["fresh"].history[0] == "i5"


class HangingStore:
    def __init__(self):
        self.release = threading.Event()

    def user_features(self, _user_id):
        self.release.wait(10.0)


def test_a_store_that_hangs_costs_a_request_its_timeout_and_no_more():
    store = HangingStore()

    async def act():
        users = UserStates(store, UserStateSettings(read_timeout_ms=20.0, queue_limit=3))
        outcomes = []
        for _ in range(4):
            with pytest.raises((DependencyError, OverloadedError)) as caught:
                await users.get("known", Segment())
            outcomes.append(caught.type)
        store.release.set()
        return outcomes

    assert run(act()) == [DependencyError, DependencyError, DependencyError, OverloadedError]


def test_a_store_that_is_down_is_left_alone(store):
    store.error = DependencyError("down")

    async def act():
        users = UserStates(store)
        for number in range(20):
            with pytest.raises(DependencyError):
                await users.get(f"user-{number}", Segment())

    run(act())
    assert store.reads == 5
