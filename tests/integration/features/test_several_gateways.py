"""Several gateways over one feature store and one event log: what one acknowledged, all of them know."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from services.recommendations.contracts.candidates import Segment
from services.recommendations.gateway.activity_recovery import ActivityRecovery
from services.recommendations.gateway.user_states import ReadUser, UserStates, UserStateSettings
from streamrec.contracts.errors import DependencyError, TemporaryError
from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.events.compaction import compact
from streamrec.events.reader import FileEventReader
from streamrec.events.segments import segments_folder
from streamrec.events.write_ahead_log import WriteAheadLog
from streamrec.features import materialization
from streamrec.features.feast_store import FeastFeatureStore
from streamrec.features.new_actions import read_actions
from streamrec.features.online.user_reads import ReadLimits
from streamrec.features.settings import FeatureSettings
from streamrec.features.user_actions import UserAction
from streamrec.serving.circuit_breaker import CircuitState
from tests.integration.features.made_data import REPOSITORY, dataset_of, play

PATIENT = UserStateSettings(reads=ReadLimits(timeout_ms=5_000), write_timeout_ms=10_000)
"""For what is answered, not when, on a machine that is busy."""

# Acknowledges an event, which is on disk, and is killed before it is in the feature store.
KILLED_GATEWAY = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.events.write_ahead_log import WriteAheadLog

now = datetime.now(UTC)
log = WriteAheadLog(Path(sys.argv[1]))
log.append([Outcome("e-killed", "u00001", "i00002", InteractionKind.PLAY, now, now)], durable=True)
print("on disk", flush=True)
time.sleep(60)
"""


@contextmanager
def gateways(settings: FeatureSettings, count: int) -> Iterator[list[FeastFeatureStore]]:
    """The stores of gateways: each opens its own, as it would in its own process."""
    with ExitStack() as stack:
        stores = [FeastFeatureStore(settings) for _ in range(count)]
        for store in stores:
            stack.callback(store.close)
        yield stores


def history(read: ReadUser) -> tuple[str, ...]:
    assert read.problem is None
    return read.state.history


@pytest.mark.parametrize("online", ["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def test_an_acknowledged_event_is_known_to_every_gateway(
    online: str, settings: FeatureSettings, request: pytest.FixtureRequest
):
    url = "sqlite" if online == "sqlite" else request.getfixturevalue("redis_server").url
    settings = FeatureSettings(settings.folder, REPOSITORY, url, redis_read_timeout_ms=5_000)
    materialization.materialize(settings, dataset_of(users=3, items=50, events_per_user=5))

    async def act(stores: list[FeastFeatureStore]) -> None:
        users = [UserStates(store, PATIENT) for store in stores]
        lengths = [len(history(await gateway.get("u00001", Segment()))) for gateway in users]
        for number in range(12):
            await users[number % 3].add_actions({"u00001": [play(f"i{number:05d}")]})
            assert users[number % 3].in_store("u00001")
            reads = await asyncio.gather(*(gateway.get("u00001", Segment()) for gateway in users))
            assert [len(history(read)) for read in reads] == [length + number + 1 for length in lengths]
            assert {history(read)[-1] for read in reads} == {f"i{number:05d}"}
        for gateway in users:
            await gateway.close()

    with gateways(settings, 3) as stores:
        asyncio.run(act(stores))


def test_the_same_events_at_two_gateways_leave_what_they_leave_once(
    settings: FeatureSettings, tmp_path: Path
):
    materialization.materialize(settings, dataset_of(users=3, items=50, events_per_user=5))
    start = datetime.now(UTC) - timedelta(hours=1)
    acted = [UserAction(f"i{n:05d}", InteractionKind.PLAY, start + timedelta(seconds=n)) for n in range(20)]
    outcomes = [
        Outcome(f"e{n}", "twice", action.item_id, action.kind, action.occurred_at, start)
        for n, action in enumerate(acted)
    ]

    async def act(stores: list[FeastFeatureStore]) -> None:
        users = [UserStates(store, PATIENT) for store in stores]
        await users[0].add_actions({"once": acted})
        await asyncio.gather(
            *(users[0].add_actions({"twice": [action]}) for action in acted),
            *(users[1].add_actions({"twice": [action]}) for action in reversed(acted)),
        )
        for gateway in users:
            await gateway.close()

    logs = [WriteAheadLog(tmp_path / "events") for _ in range(2)]
    logs[0].append(outcomes)
    logs[1].append(outcomes[::-1])
    assert len(list(segments_folder(tmp_path / "events").iterdir())) == 2
    with gateways(settings, 2) as stores:
        asyncio.run(act(stores))
        once, twice = (stores[0].user_features(name) for name in ("once", "twice"))
    assert once is not None
    assert twice is not None
    assert once.activity == twice.activity
    for closed in (False, True):
        if closed:
            for log in logs:
                log.close()
            compact(tmp_path / "events")
        assert len(FileEventReader(tmp_path / "events").snapshot().outcomes) == len(acted)


def test_what_a_killed_gateway_left_on_disk_is_known_to_the_others_when_the_next_one_starts(
    settings: FeatureSettings, tmp_path: Path
):
    materialization.materialize(settings, dataset_of(users=3, items=50, events_per_user=5))
    events, now = tmp_path / "events", datetime.now(UTC)
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_GATEWAY, str(events)], stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "on disk\n"
        killed.kill()
    living_log = WriteAheadLog(events)
    living_log.append([Outcome("e-living", "u00002", "i00003", InteractionKind.PLAY, now, now)])

    async def act(stores: list[FeastFeatureStore]) -> tuple[str, str]:
        living, starting = (UserStates(store, PATIENT) for store in stores)
        before = history(await living.get("u00001", Segment()))
        read_log = partial(read_actions, FileEventReader(events))
        await ActivityRecovery(stores[1], starting, read_log).run()
        after = history(await living.get("u00001", Segment()))
        assert after[:-1] == before
        other = history(await living.get("u00002", Segment()))
        await living.close()
        await starting.close()
        return after[-1], other[-1]

    with gateways(settings, 2) as stores:
        assert asyncio.run(act(stores)) == ("i00002", "i00003")
    living_log.close()


@pytest.mark.redis
def test_redis_frozen_and_stopped_costs_a_bounded_wait_and_comes_back(
    settings: FeatureSettings, redis_server
):
    settings = FeatureSettings(settings.folder, REPOSITORY, redis_server.url)
    materialization.materialize(settings, dataset_of(users=40, items=50, events_per_user=5))

    async def act(store: FeastFeatureStore) -> None:
        users = UserStates(store, UserStateSettings(write_timeout_ms=100.0))
        kept = history(await users.get("u00001", Segment()))
        redis_server.freeze()
        for number in range(6):
            began_s = time.monotonic()
            with suppress(TemporaryError):
                await users.get(f"u{number:05d}", Segment())
            assert time.monotonic() - began_s < 0.5  # 45 ms, and as much again ten times on a busy machine
        assert users._breaker.state is CircuitState.OPEN
        stand_in = await users.get("u00001", Segment())
        assert (stand_in.state.history, stand_in.problem is None) == (kept, False)
        await users.add_actions({"u00001": [play("i00007")], "u00002": [play("i00007")]})
        assert not users.in_store("u00001")
        assert (await users.get("u00001", Segment())).state.history == (*kept, "i00007")
        redis_server.thaw()
        async with asyncio.timeout(20.0):
            while True:
                read = await users.get("u00001", Segment())
                if read.problem is None and users.in_store("u00001"):
                    break
                await asyncio.sleep(0.05)
        assert read.state.history == (*kept, "i00007")
        redis_server.stop()
        read = await users.get("u00001", Segment())
        assert (read.state.history, read.problem is None) == ((*kept, "i00007"), False)
        await users.close()

    with gateways(settings, 1) as (store,):
        asyncio.run(act(store))


@pytest.mark.redis
def test_a_redis_that_lost_its_rows_is_told_from_users_whom_nobody_knows(
    settings: FeatureSettings, redis_server
):
    settings = FeatureSettings(settings.folder, REPOSITORY, redis_server.url, redis_read_timeout_ms=5_000)
    dataset = dataset_of(users=3, items=50, events_per_user=5)
    materialization.materialize(settings, dataset)

    async def act(store: FeastFeatureStore) -> None:
        users = UserStates(store, PATIENT)
        assert history(await users.get("nobody", Segment())) == ()
        kept = history(await users.get("u00001", Segment()))
        redis_server.forget()
        read = await users.get("u00001", Segment())
        assert (read.state.history, read.problem is None) == (kept, False)
        with pytest.raises(DependencyError, match="lost the rows"):
            await users.get("u00002", Segment())
        await asyncio.to_thread(materialization.materialize, settings, dataset)
        assert history(await users.get("u00001", Segment())) == kept
        assert history(await users.get("nobody", Segment())) == ()
        await users.close()

    with gateways(settings, 1) as (store,):
        asyncio.run(act(store))
