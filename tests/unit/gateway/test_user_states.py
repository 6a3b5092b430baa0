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
from streamrec.features.online.user_reads import DirectReads, ReadLimits
from streamrec.features.store import UserFeatures
from streamrec.features.user_actions import UserAction
from streamrec.serving.circuit_breaker import CircuitBreaker

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

    assert run(read()).state.segment == Segment("DE", "fi", "25-34", "ads")


def test_what_one_gateway_acknowledged_every_gateway_knows(store):
    async def act():
        gateways = [UserStates(store) for _ in range(3)]
        seen = []
        for number in range(6):
            await gateways[number % 3].add_actions({"fresh": [play(f"item-{number:02d}", LATER)]})
            assert gateways[number % 3].in_store("fresh")
            reads = [await gateway.get("fresh", Segment()) for gateway in gateways]
            seen += [len(read.state.history) for read in reads]
        return seen

    assert run(act()) == [number // 3 + 1 for number in range(18)]


def test_the_same_actions_at_two_gateways_at_once_and_out_of_order_leave_the_state_of_once(store):
    acted = [play(f"item-{number:02d}", EARLIER + timedelta(days=number)) for number in range(8)]

    async def act():
        once, first, second = (UserStates(store) for _ in range(3))
        await once.add_actions({"once": acted})
        await asyncio.gather(
            *(first.add_actions({"twice": [action]}) for action in acted),
            *(second.add_actions({"twice": [action]}) for action in reversed(acted)),
        )

    run(act())
    assert store.users["once"].activity == store.users["twice"].activity


def test_a_row_stands_in_for_one_that_cannot_be_read_and_the_answer_says_so(store):
    async def act():
        users = UserStates(store)
        first = await users.get("known", Segment())
        store.error = DependencyError("down")
        during = await users.get("known", Segment())
        with pytest.raises(DependencyError):
            await users.get("somebody else", Segment())
        await users.add_actions({"known": [play("item-20", LATER)]})
        acted, everywhere = await users.get("known", Segment()), users.in_store("known")
        users.forget()
        with pytest.raises(DependencyError):
            await users.get("known", Segment())
        store.error = None
        await users.close()
        return first, during, acted, everywhere

    first, during, acted, everywhere = run(act())
    assert first.problem is None
    assert (str(during.problem), during.state) == ("down", first.state)
    assert acted.state.history == (*first.state.history, "item-20")
    assert not everywhere


def test_what_was_written_since_is_part_of_what_stands_in(store):
    async def act():
        users = UserStates(store)
        await users.get("known", Segment())
        await users.add_actions({"known": [play("item-20", LATER)]})
        store.error = DependencyError("down")
        return await users.get("known", Segment())

    read = run(act())
    assert read.problem is not None
    assert read.state.history == store.users["known"].history
    assert read.state.history[-1] == "item-20"


def test_without_kept_rows_nothing_stands_in(store):
    async def act():
        users = UserStates(store, UserStateSettings(kept_for_s=0.0))
        await users.get("known", Segment())
        store.error = DependencyError("down")
        with pytest.raises(DependencyError):
            await users.get("known", Segment())

    run(act())


def test_a_row_is_read_once_until_it_changes_and_asked_for_its_revision_alone(store):
    async def act():
        mine, other = UserStates(store), UserStates(store)
        for user in ("known", "fresh"):
            for _ in range(4):
                await mine.get(user, Segment())
        once = (store.reads_made, store.revisions_read)
        await other.add_actions({"fresh": [play("item-20", LATER)]})
        read = await mine.get("fresh", Segment())
        then = (store.reads_made, store.revisions_read)
        await mine.add_actions({"fresh": [play("item-21", LATER)]})
        await mine.get("fresh", Segment())  # it knows that the row has changed
        return once, read.state.history, then, (store.reads_made, store.revisions_read)

    assert run(act()) == ((2, 6), ("item-20",), (3, 7), (4, 7))


def test_requests_of_one_user_at_once_share_two_calls(store):
    class SlowReads(DirectReads):
        async def row(self, user_id):
            row = await super().row(user_id)
            await asyncio.sleep(0.01)
            return row

    store.reads = lambda _limits: SlowReads(store.row, store.revision)

    async def act():
        users = UserStates(store)
        return await asyncio.gather(*(users.get("known", Segment()) for _ in range(20)))

    assert {read.state.history for read in run(act())} == {store.users["known"].history}
    assert (store.reads_made, store.revisions_read) == (1, 1)


def test_what_is_written_while_a_row_is_read_is_in_the_answer(store):
    """Acknowledged while it waits for the store, and in the store before the old row is back."""
    gate, written = asyncio.Event(), threading.Event()
    add = store.add_actions

    def slow(actions):
        assert written.wait(10)
        add(actions)

    class HeldReads(DirectReads):
        async def row(self, user_id):
            row = await super().row(user_id)
            await gate.wait()
            return row

    store.add_actions = slow
    store.reads = lambda _limits: HeldReads(store.row, store.revision)

    async def act():
        users = UserStates(store, UserStateSettings(reads=ReadLimits(timeout_ms=5000), write_timeout_ms=1.0))
        await users.add_actions({"known": [play("item-20", LATER)]})
        assert not users.in_store("known")
        asking = asyncio.create_task(users.get("known", Segment()))
        await asyncio.sleep(0)
        written.set()
        while not users.in_store("known"):  # noqa: ASYNC110 - the writer sets no event
            await asyncio.sleep(0.001)
        gate.set()
        return await asking

    assert run(act()).state.history[-1] == "item-20"


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


def test_a_store_that_is_down_is_left_alone(store):
    store.error = DependencyError("down")

    async def act():
        users = UserStates(store)
        for number in range(20):
            with pytest.raises(DependencyError):
                await users.get(f"user-{number}", Segment())

    run(act())
    assert store.reads_made == 5


def test_what_this_process_refuses_is_not_held_against_the_store(store):
    async def act():
        users = UserStates(store)
        for error in (OverloadedError("full"), InvalidInputError("user_id", "is empty")):
            store.error = error
            for number in range(9):
                with pytest.raises(type(error)):
                    await users.get(f"user-{number}", Segment())
        store.error = None
        return await users.get("known", Segment())

    assert run(act()).state.history


def test_a_batch_of_500_users_is_known_to_the_next_request(store):
    async def act():
        users = UserStates(store)
        await users.add_actions({f"new-{n}": [play("item-01", LATER)] for n in range(500)})
        states = [await users.get(f"new-{n}", Segment()) for n in range(500)]
        await users.close()
        return states

    assert {read.state.history for read in run(act())} == {("item-01",)}
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

    assert run(act()).state.history == ("item-02", "item-01")
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

    assert run(act()).state.history == ("item-01", "item-02", "item-03")
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


def test_what_waits_of_a_user_who_is_erased_is_not_written_any_more(store):
    erased = set()
    store.error = DependencyError("down")

    async def act():
        users = UserStates(store, is_erased=erased.__contains__)
        await users.add_actions({name: [play("item-01", LATER)] for name in ("gone", "stays")})
        erased.add("gone")
        store.error = None
        await users.close()
        assert users.in_store("gone")

    run(act())
    assert {"gone", "stays"} & set(store.users) == {"stays"}


def test_dislikes_and_skips_are_part_of_the_state(store):
    async def act():
        users = UserStates(store)
        dislike = UserAction("item-03", InteractionKind.DISLIKE, LATER)
        skip = UserAction("item-04", InteractionKind.SKIP, LATER)
        await users.add_actions({"known": [dislike, skip]})
        return await users.get("known", Segment())

    state = run(act()).state
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


def test_what_a_gateway_left_that_ended_while_the_store_was_down_is_brought_in_by_those_that_stay(store):
    asked = []

    def acknowledged_since(since):
        asked.append(since)
        return {"left": [play("item-01", LATER)]} if len(asked) > 1 else {}

    async def act():
        users = UserStates(store)
        users._breaker = CircuitBreaker("the store", failures=(Exception,), open_for_ms=1.0)
        recovery = ActivityRecovery(store, users, acknowledged_since, pause_s=0.001)
        recovery.start()
        began = datetime.now(UTC)
        store.error = DependencyError("down")
        for _ in range(5):
            with pytest.raises(DependencyError):
                await users.get("known", Segment())
        assert len(asked) <= 1
        store.error = None
        await asyncio.sleep(0.01)
        await users.get("known", Segment())
        async with asyncio.timeout(10.0):
            while "left" not in store.users:  # noqa: ASYNC110 - the store sets no event
                await asyncio.sleep(0.001)
        for _ in range(5):
            await users.get("known", Segment())
        await recovery.stop()
        await users.close()
        return began

    began = run(act())
    assert asked[0] == store.events_until()
    assert len(asked) == 2
    assert began <= asked[1] <= datetime.now(UTC)
