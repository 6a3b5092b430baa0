from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from services.recommendations.contracts.candidates import Segment
from services.recommendations.gateway.activity_recovery import ActivityRecovery
from services.recommendations.gateway.activity_writer import WriterSettings
from services.recommendations.gateway.user_states import UserStates, UserStateSettings
from streamrec.contracts.conventions import HISTORY_LIMIT
from streamrec.contracts.errors import DependencyError, InvalidInputError, OverloadedError
from streamrec.contracts.events import InteractionKind
from streamrec.features.store import UserFeatures
from streamrec.features.user_actions import UserAction
from streamrec.serving.circuit_breaker import CircuitState

EARLIER = datetime(2024, 5, 1, tzinfo=UTC)
LATER = datetime(2024, 6, 1, tzinfo=UTC)


def play(item_id, occurred_at):
    return UserAction(item_id, InteractionKind.PLAY, occurred_at)


def run(coroutine):
    return asyncio.run(coroutine)


def test_the_store_is_believed_where_it_knows_something(store):
    store.users["half"] = UserFeatures("half", "DE", "unknown", "unknown", "ads")

    async def read():
        return await UserStates(store).get("half", Segment("FI", "fi", "25-34", "organic"))

    assert run(read()).segment == Segment("DE", "fi", "25-34", "ads")


def test_a_row_is_read_once_until_the_user_acts(store):
    async def act():
        users = UserStates(store)
        for _ in range(3):
            await users.get("known", Segment())
        reads = store.reads
        await users.add_actions({"known": [play("item-20", LATER)]})
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
        await users.add_actions({"fresh": [play("item-01", LATER)]})
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


def test_an_event_that_arrives_late_stands_where_its_time_says(store):
    async def act():
        users = UserStates(store)
        await users.add_actions({"fresh": [play("item-01", LATER)]})
        await users.add_actions({"fresh": [play("item-02", EARLIER)]})

    run(act())
    assert store.users["fresh"].updated_at == LATER
    assert store.users["fresh"].history == ("item-02", "item-01")


def test_histories_are_bounded(store):
    async def act():
        acted = [play(f"i{n}", EARLIER + timedelta(seconds=n)) for n in range(HISTORY_LIMIT + 5)]
        await UserStates(store).add_actions({"fresh": acted})

    run(act())
    assert len(store.users["fresh"].history) == HISTORY_LIMIT
    assert store.users["fresh"].history[0] == "i5"


class HangingStore:
    def __init__(self):
        self.release = threading.Event()

    def generation(self):
        return "first"

    def user_features(self, _user_id):
        self.release.wait(10.0)


def test_a_store_that_hangs_costs_a_request_its_timeout_and_no_more():
    store = HangingStore()

    async def act():
        users = UserStates(store, UserStateSettings(read_timeout_ms=20.0, queue_limit=2))
        outcomes = []
        for _ in range(4):
            with pytest.raises((DependencyError, OverloadedError)) as caught:
                await users.get("known", Segment())
            outcomes.append(caught.type)
        store.release.set()
        return outcomes

    assert run(act()) == [DependencyError, DependencyError, OverloadedError, OverloadedError]


def test_a_store_that_is_down_is_left_alone(store):
    store.error = DependencyError("down")

    async def act():
        users = UserStates(store)
        for number in range(20):
            with pytest.raises(DependencyError):
                await users.get(f"user-{number}", Segment())

    run(act())
    assert store.reads == 5


def test_what_this_process_refuses_is_not_held_against_the_store(store):
    async def act():
        users = UserStates(store, UserStateSettings(cache_lifetime_s=0.0, queue_limit=1))
        answers = await asyncio.gather(
            *(users.get("known", Segment()) for _ in range(50)), return_exceptions=True
        )
        assert {type(answer) for answer in answers if isinstance(answer, Exception)} == {OverloadedError}
        return await users.get("known", Segment())

    assert run(act()).history


def test_reads_that_do_not_come_to_their_turn_are_not_held_against_the_store():
    store = HangingStore()

    async def act():
        users = UserStates(
            store, UserStateSettings(cache_lifetime_s=0.0, read_timeout_ms=10.0, threads=1, queue_limit=50)
        )
        answers = await asyncio.gather(
            *(users.get("known", Segment()) for _ in range(30)), return_exceptions=True
        )
        store.release.set()
        kinds = [type(answer) for answer in answers]
        assert (kinds.count(DependencyError), kinds.count(OverloadedError)) == (1, 29)
        assert users._breaker.state is CircuitState.CLOSED

    run(act())


def test_a_batch_of_500_users_is_known_to_the_next_request(store):
    async def act():
        users = UserStates(store)
        await users.add_actions({f"new-{n}": [play("item-01", LATER)] for n in range(500)})
        states = [await users.get(f"new-{n}", Segment()) for n in range(500)]
        await users.close()
        return states

    assert {state.history for state in run(act())} == {("item-01",)}
    assert sum(user.startswith("new-") for user in store.users) == 500
    assert store.writes < 30


def test_a_store_that_is_down_gets_every_action_later_and_the_next_request_knows_it_now(store):
    store.error = RuntimeError("down")

    async def act():
        users = UserStates(store)
        await users.add_actions({"fresh": [play("item-01", LATER)]})
        await users.add_actions({"fresh": [play("item-02", EARLIER)]})
        assert store.writes > 0
        store.error = None
        at_once = await users.get("fresh", Segment())
        await users.close()
        return at_once

    assert run(act()).history == ("item-02", "item-01")
    assert store.users["fresh"].history == ("item-02", "item-01")


def test_a_write_that_outlives_its_time_out_is_neither_lost_nor_overtaken(store):
    gate, order = threading.Event(), []
    add = store.add_actions

    def slow(actions):
        order.append(sorted(action.item_id for acted in actions.values() for action in acted))
        assert gate.wait(10)
        add(actions)

    store.add_actions = slow

    async def act():
        users = UserStates(store, UserStateSettings(write_timeout_ms=10.0))
        for item in ("item-01", "item-02", "item-03"):
            await users.add_actions({"fresh": [play(item, LATER)]})
        during = await users.get("fresh", Segment())
        gate.set()
        await users.close()
        return during

    assert run(act()).history == ("item-01", "item-02", "item-03")
    assert store.users["fresh"].history == ("item-01", "item-02", "item-03")
    assert order == [["item-01"], ["item-02", "item-03"]]


def test_more_than_the_queue_holds_is_refused_before_it_is_acknowledged(store):
    store.error = RuntimeError("down")

    async def act():
        settings = UserStateSettings(write_timeout_ms=1.0, writer=WriterSettings(queue_limit=3, drain_s=0.01))
        users = UserStates(store, settings)
        users.check_room(3)
        await users.add_actions({"fresh": [play("item-01", LATER), play("item-02", LATER)]})
        users.check_room(1)
        with pytest.raises(OverloadedError):
            users.check_room(2)
        await users.close()

    run(act())


def test_an_action_that_no_store_takes_does_not_keep_the_others_out(store):
    add = store.add_actions

    def picky(actions):
        if "bad" in actions:
            raise InvalidInputError("occurred_at", "lies in the future")
        add(actions)

    store.add_actions = picky

    async def act():
        users = UserStates(store)
        await users.add_actions({name: [play("item-01", LATER)] for name in ("one", "bad", "two")})
        await users.close()
        return users._writer.dropped_actions

    assert run(act()) == 1
    assert {"one", "two"} <= set(store.users)


def test_a_materialisation_is_seen_at_once_also_by_who_was_unknown(store):
    now_s = [0.0]

    async def act():
        users = UserStates(store, clock=lambda: now_s[0])
        before = await users.get("fresh", Segment())
        store.users["fresh"] = store.users["known"]
        store.published = "second"
        now_s[0] += 1.0
        return before, await users.get("fresh", Segment())

    before, after = run(act())
    assert before.history == ()
    assert len(after.history) == 6


def test_dislikes_and_skips_are_part_of_the_state(store):
    async def act():
        users = UserStates(store)
        dislike = UserAction("item-03", InteractionKind.DISLIKE, LATER)
        skip = UserAction("item-04", InteractionKind.SKIP, LATER)
        await users.add_actions({"known": [dislike, skip]})
        return await users.get("known", Segment())

    state = run(act())
    assert (state.disliked, state.skipped) == (("item-03",), ("item-04",))
    assert state.skip_ages_hours[0] >= 0
    # The dislike takes back the interest of before; the skip does not.
    assert state.history == ("item-00", "item-01", "item-02", "item-04", "item-05")


def test_what_an_earlier_gateway_did_not_come_to_is_read_from_the_event_log(store):
    asked, answers = [], [DependencyError("not yet"), {f"u{n}": [play("item-01", LATER)] for n in range(600)}]

    def acknowledged_since(since):
        asked.append(since)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def act():
        users = UserStates(store)
        recovery = ActivityRecovery(store, users, acknowledged_since, retry_s=0.0)
        await recovery.run()
        await users.close()

    run(act())
    assert asked == [store.events_until()] * 2
    assert sum(user.startswith("u") for user in store.users) == 600
