"""Features on real Feast: plain `feast`, several processes, a Redis that is gone, time travel."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from streamrec.contracts.conventions import HISTORY_LIMIT
from streamrec.contracts.errors import (
    DataFolderError,
    DependencyError,
    InvalidInputError,
    NotFoundError,
    NotReadyError,
)
from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset
from streamrec.datasets.feedback import with_outcomes
from streamrec.features import materialization
from streamrec.features.feast_store import FeastFeatureStore
from streamrec.features.new_actions import NewActions
from streamrec.features.settings import FeatureSettings
from streamrec.features.user_actions import UserAction

REPOSITORY = Path(__file__).resolve().parents[3] / "feature_repo"
START = datetime(2025, 6, 1, tzinfo=UTC)


def dataset_of(users: int, items: int, events_per_user: int, seed: int = 0, hours: int = 24 * 30) -> Dataset:
    rng = np.random.default_rng(seed)
    ids = tuple(f"i{n:05d}" for n in range(items))
    creators = tuple(f"c{n % 7}" for n in range(items))
    languages = tuple(("Hindi", "French")[n % 2] for n in range(items))
    published = np.full(items, np.datetime64("2025-05-01", "s"))
    catalogue = Catalogue(ids, ids, creators, languages, ((),) * items, published)
    count = users * events_per_user
    seconds = np.sort(rng.integers(0, hours * 3600, count))
    frame = pd.DataFrame(
        {
            "user_id": [f"u{n:05d}" for n in rng.integers(0, users, count)],
            "item_id": [ids[n] for n in rng.integers(0, items, count)],
            "timestamp": pd.to_datetime([START + timedelta(seconds=int(s)) for s in seconds]).as_unit("ns"),
        }
    )
    people = pd.DataFrame({"user_id": [f"u{n:05d}" for n in range(users)], "country": "FR", "language": "fr"})
    people = people.assign(age_band="unknown", signup_channel="web", signed_up_at=pd.NaT)
    people["signed_up_at"] = pd.to_datetime(people["signed_up_at"], utc=True).dt.as_unit("ns")
    return Dataset(Path(), catalogue, frame, people)


def play(item_id: str) -> UserAction:
    return UserAction(item_id, InteractionKind.PLAY, datetime.now(UTC))


@pytest.fixture
def settings(tmp_path: Path) -> FeatureSettings:
    return FeatureSettings(tmp_path / "features", REPOSITORY)


@pytest.fixture
def store(settings: FeatureSettings) -> Iterator[FeastFeatureStore]:
    opened = materialization.open_feature_store(settings)
    yield opened
    opened.close()


def test_a_training_frame_never_sees_an_event_at_or_after_its_time(
    settings: FeatureSettings, store: FeastFeatureStore
):
    dataset = dataset_of(users=6, items=20, events_per_user=60)
    materialization.materialize(settings, dataset)
    events = dataset.interactions
    frame = events.sample(120, random_state=1).rename(columns={"timestamp": "event_timestamp"})
    frame["event_timestamp"] = frame["event_timestamp"].where(
        frame.index % 3 > 0, frame["event_timestamp"].dt.ceil("D")
    )
    creator_of = dict(zip(dataset.catalogue.item_ids, dataset.catalogue.creator_ids, strict=True))
    frame["creator_id"] = frame["item_id"].map(creator_of)
    frame["label"] = range(len(frame))
    frame = pd.concat([frame, frame.head(3)])  # the same keys and times twice: every row must come back
    ranking = store.training_frame(frame, "ranking_v1")
    reranking = store.training_frame(frame, "reranking_v1")
    assert ranking["label"].tolist() == reranking["label"].tolist() == frame["label"].tolist()
    assert ranking.index.tolist() == frame.index.tolist()
    seen_something = 0
    for row in ranking.to_dict("records"):
        before = events[events["timestamp"] < row["event_timestamp"]]
        own = before[before["user_id"] == row["user_id"]]
        if not pd.isna(row["user_activity__event_count"]):
            seen_something += 1
            assert row["user_activity__last_event_at"] < row["event_timestamp"]
            count = int(row["user_activity__event_count"])
            assert sorted(row["user_activity__history"]) == sorted(own["item_id"].iloc[:count])
        assert row["item_popularity__interaction_count"] <= (before["item_id"] == row["item_id"]).sum()
        assert row["item_content__creator_id"] == creator_of[row["item_id"]]
    assert seen_something > 60
    for row in reranking.to_dict("records"):
        before = events[events["timestamp"] < row["event_timestamp"]]
        theirs = (before["item_id"].map(creator_of) == row["creator_id"]).sum()
        assert not row["creator_statistics__interaction_count"] > theirs


def test_a_row_before_everything_comes_back_without_features(
    settings: FeatureSettings, store: FeastFeatureStore
):
    materialization.materialize(settings, dataset_of(users=2, items=3, events_per_user=5))
    entities = pd.DataFrame(
        {
            "user_id": ["u00001", "stranger"],
            "event_timestamp": [START - timedelta(days=1), START + timedelta(days=9)],
        }
    )
    frame = store.training_frame(entities, "cold_start_v1")
    assert frame["user_id"].tolist() == ["u00001", "stranger"]
    assert frame["user_activity__event_count"].isna().all()
    assert frame["user_profile__country"].isna().tolist() == [True, True]


def test_an_entity_frame_that_cannot_be_joined_is_refused(
    settings: FeatureSettings, store: FeastFeatureStore
):
    materialization.materialize(settings, dataset_of(users=2, items=3, events_per_user=5))
    entities = pd.DataFrame({"user_id": ["u00000"], "event_timestamp": [START]})
    with pytest.raises(NotFoundError, match="ranking_v1"):
        store.training_frame(entities, "nothing_v1")
    with pytest.raises(InvalidInputError, match="item_id"):
        store.training_frame(entities, "ranking_v1")
    with pytest.raises(InvalidInputError, match="zone"):
        store.training_frame(entities.assign(event_timestamp=pd.Timestamp("2025-01-01")), "cold_start_v1")
    with pytest.raises(InvalidInputError, match="event_timestamp"):
        store.training_frame(entities[["user_id"]], "cold_start_v1")


def test_apply_alone_registers_and_keeps_what_is_there(settings: FeatureSettings, store: FeastFeatureStore):
    names = materialization.apply(settings)
    assert {"gateway_v1", "ranking_v1", "user_activity", "item"} <= set(names)
    assert store.user_features("u00000") is None
    with pytest.raises(NotReadyError, match="no items"):
        store.item_table()
    materialization.materialize(settings, dataset_of(users=2, items=3, events_per_user=5))
    assert materialization.apply(settings) == names
    assert store.user_features("u00000") is not None


def test_materialising_again_replaces_users_of_an_earlier_data_set(
    settings: FeatureSettings, store: FeastFeatureStore
):
    materialization.materialize(settings, dataset_of(users=9, items=3, events_per_user=5))
    store.add_actions({"u00001": [play("i00000")]})
    assert store.user_features("u00008") is not None
    smaller = dataset_of(users=2, items=3, events_per_user=5)
    materialization.materialize(settings, smaller)
    assert store.user_features("u00008") is None
    row = store.user_features("u00001")
    assert row is not None
    assert list(row.history) == smaller.interactions.query("user_id == 'u00001'")["item_id"].tolist()


def test_a_reader_held_up_while_its_generation_is_replaced_reads_the_new_one(
    settings: FeatureSettings, store: FeastFeatureStore, monkeypatch: pytest.MonkeyPatch
):
    datasets = [dataset_of(users=20, items=10, events_per_user=5, seed=seed) for seed in (1, 2)]
    materialization.materialize(settings, datasets[0])
    held_up = [store._open(store._identity())]
    for turn in range(3):
        materialization.materialize(settings, datasets[(turn + 1) % 2])
    held_up[0].reading.refresh_registry()  # as Feast does by itself when its cache is too old
    current = store._open
    monkeypatch.setattr(store, "_open", lambda identity: held_up.pop() if held_up else current(identity))
    row = store.user_features("u00003")
    rows = datasets[1].interactions
    assert row is not None
    assert row.history == tuple(rows[rows["user_id"] == "u00003"]["item_id"])


def test_readers_go_on_while_features_are_materialised_anew(
    settings: FeatureSettings, store: FeastFeatureStore
):
    datasets = [dataset_of(users=20, items=10, events_per_user=5, seed=seed) for seed in (1, 2)]
    histories = [
        {user: tuple(rows["item_id"]) for user, rows in dataset.interactions.groupby("user_id")}
        for dataset in datasets
    ]
    materialization.materialize(settings, datasets[0])
    done = threading.Event()

    def read() -> int:
        reads = 0
        while not done.is_set():
            for user in ("u00003", "u00011"):
                row = store.user_features(user)
                assert row is not None
                assert row.history in [history.get(user, ()) for history in histories]
                reads += 1
        return reads

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        for turn in range(4):
            materialization.materialize(settings, datasets[(turn + 1) % 2])
        done.set()
        assert min(reader.result() for reader in readers) > 0


class Log:
    """An event log: what it has is on disk, and may not be in a row yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[tuple[datetime, str, UserAction]] = []

    def append(self, user_id: str, action: UserAction) -> None:
        with self._lock:
            self._entries.append((datetime.now(UTC), user_id, action))

    def since(self, moment: datetime) -> dict[str, list[UserAction]]:
        with self._lock:
            entries = list(self._entries)
        found: dict[str, list[UserAction]] = {}
        for received_at, user_id, action in entries:
            if received_at >= moment - timedelta(seconds=1):
                found.setdefault(user_id, []).append(action)
        return found


def _publish_beside_users(settings: FeatureSettings, publications: int) -> None:
    """Users act and read their own row without pause while features are published again and again."""
    data = dataset_of(users=3, items=3, events_per_user=5)
    log, done = Log(), threading.Event()

    def materialise() -> None:
        since = datetime.now(UTC)
        acted = {user: list(actions) for user, actions in log.since(START).items()}
        outcomes = [
            Outcome(
                f"{user}-{n}", user, "i00000", InteractionKind.PLAY, action.occurred_at, action.occurred_at
            )
            for user, actions in acted.items()
            for n, action in enumerate(actions)
        ]
        materialization.materialize(
            settings, with_outcomes(data, outcomes), new_actions=NewActions(since, log.since)
        )

    materialise()

    def act(user: str) -> int:
        store = FeastFeatureStore(settings)
        try:
            count = 0
            while not done.is_set():
                action = play("i00000")
                log.append(user, action)
                store.add_actions({user: [action]})
                count += 1
                row = store.user_features(user)
                assert row is not None, f"{user} is not known any more"
                assert len(row.history) == min(count, HISTORY_LIMIT)
            return count
        finally:
            store.close()

    with ThreadPoolExecutor(2) as pool:
        users = [pool.submit(act, user) for user in ("new-a", "new-b")]
        try:
            for _ in range(publications):
                materialise()
                assert not any(user.done() for user in users), [
                    user.exception() for user in users if user.done()
                ]
        finally:
            done.set()
        assert min(user.result() for user in users) > publications


def test_writes_and_reads_without_pause_through_50_publications_lose_nothing(settings: FeatureSettings):
    _publish_beside_users(settings, 50)


@pytest.mark.redis
def test_writes_and_reads_on_redis_through_publications_lose_nothing(settings: FeatureSettings, redis_server):
    # A generous timeout: this is about what is answered, not when, on a machine that is busy.
    _publish_beside_users(replace(settings, online=redis_server.url, redis_read_timeout_ms=5_000), 10)


def _write_and_read(settings: FeatureSettings, process: int, results: Queue[str]) -> None:
    from prometheus_client import values

    store = FeastFeatureStore(settings)
    try:
        # Importing feast alone would have switched this process's metrics to files.
        assert not [name for name in os.environ if name.startswith("PROMETHEUS_MULTI")]
        assert values.ValueClass is values.MutexValue
        with ThreadPoolExecutor(4) as pool:

            def work(thread: int) -> None:
                user = f"p{process}-t{thread}"
                for length in range(1, 31):
                    store.add_actions({user: [play("i00000")], "everybody": [play(f"{user}-{length}")]})
                    row = store.user_features(user)
                    assert row is not None
                    assert len(row.history) == length
                    assert store.user_features("u00001") is not None

            list(pool.map(work, range(4)))
        results.put("ok")
    except Exception as error:
        results.put(repr(error))
        raise


def test_threads_of_several_processes_write_and_read_one_sqlite_file(settings: FeatureSettings):
    materialization.materialize(settings, dataset_of(users=5, items=3, events_per_user=5))
    context = multiprocessing.get_context("spawn")
    results: Queue[str] = context.Queue()
    workers = [context.Process(target=_write_and_read, args=(settings, n, results)) for n in range(2)]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=120) for _ in workers] == ["ok"] * 2
    for worker in workers:
        worker.join(timeout=60)
        assert worker.exitcode == 0
    store = materialization.open_feature_store(settings)
    row = store.user_features("everybody")
    store.close()
    assert row is not None
    assert len(set(row.history)) == 2 * 4 * 30


def test_a_data_set_from_the_future_is_refused(settings: FeatureSettings, store: FeastFeatureStore):
    dataset = dataset_of(users=2, items=3, events_per_user=5)
    ahead = dataset.interactions.assign(
        timestamp=dataset.interactions["timestamp"] + pd.Timedelta(days=36_500)
    )
    with pytest.raises(InvalidInputError, match="future"):
        materialization.materialize(
            settings, Dataset(dataset.folder, dataset.catalogue, ahead, dataset.users)
        )
    with pytest.raises(NotReadyError):
        store.user_features("u00000")


def test_foreign_files_are_not_replaced(settings: FeatureSettings):
    settings.folder.mkdir()
    (settings.folder / "thesis.tex").touch()
    with pytest.raises(DataFolderError, match=r"thesis\.tex"):
        materialization.materialize(settings, dataset_of(users=2, items=3, events_per_user=5))


def test_a_folder_without_declarations_is_named(settings: FeatureSettings, tmp_path: Path):
    with pytest.raises(NotReadyError, match=r"feature_store\.yaml"):
        materialization.apply(FeatureSettings(settings.folder, tmp_path))
    assert not settings.folder.exists()


def test_an_old_history_is_not_served_where_the_view_has_a_ttl(
    settings: FeatureSettings, store: FeastFeatureStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STREAMREC_HISTORY_TTL_DAYS", "1")
    materialization.materialize(settings, dataset_of(users=2, items=3, events_per_user=5))
    row = store.user_features("u00001")
    assert row is not None
    assert (row.country, row.history, row.updated_at) == ("FR", (), None)
    store.add_actions({"u00001": [play("i00000")]})
    row = store.user_features("u00001")
    assert row is not None
    assert row.history[-1] == "i00000"


@pytest.mark.redis
def test_a_redis_that_is_down_is_an_error_within_100_ms(settings: FeatureSettings, redis_server):
    remote = FeatureSettings(settings.folder, REPOSITORY, redis_server.url)
    materialization.materialize(remote, dataset_of(users=2, items=3, events_per_user=5))
    store = materialization.open_feature_store(remote)
    assert store.user_features("u00001") is not None
    redis_server.freeze()
    for _ in range(3):
        start = time.perf_counter()
        with pytest.raises(DependencyError, match="did not answer"):
            store.user_features("u00001")
        assert time.perf_counter() - start < 0.2  # 100 ms, and as much again for a busy machine
    redis_server.thaw()
    assert store.user_features("u00001") is not None
    redis_server.stop()
    start = time.perf_counter()
    with pytest.raises(DependencyError):
        store.user_features("u00001")
    with pytest.raises(DependencyError):
        store.add_actions({"u00001": [play("i00000")]})
    assert time.perf_counter() - start < 0.2


@pytest.mark.redis
def test_redis_lets_go_of_the_rows_of_a_replaced_generation_after_a_while(
    settings: FeatureSettings, redis_server
):
    remote = FeatureSettings(settings.folder, REPOSITORY, redis_server.url, redis_read_timeout_ms=2_000)
    materialization.materialize(remote, dataset_of(users=9, items=3, events_per_user=5))
    assert redis_server.key_count() == 9
    store = materialization.open_feature_store(remote)
    store.add_actions({"u00001": [play("i00000")]})
    smaller = dataset_of(users=4, items=3, events_per_user=5)
    materialization.materialize(remote, smaller)
    assert redis_server.key_count() == 4 + 9
    assert redis_server.lasting_key_count() == 4
    row = store.user_features("u00001")
    assert row is not None
    assert list(row.history) == smaller.interactions.query("user_id == 'u00001'")["item_id"].tolist()


@pytest.mark.parametrize("yaml", ["feature_store.yaml", "feature_store.redis.yaml"])
def test_plain_feast_applies_the_repository(settings: FeatureSettings, yaml: str, tmp_path: Path):
    materialization.materialize(settings, dataset_of(users=2, items=3, events_per_user=5))
    environment = {
        **os.environ,
        "STREAMREC_FEATURES_FOLDER": str(settings.folder),
        "STREAMREC_FEATURES_PROJECT": "by_hand",
        "STREAMREC_REDIS_CONNECTION": "127.0.0.1:1,retry=null,socket_timeout=0.05",
    }
    feast = [sys.executable, "-m", "feast.cli.cli", "-c", str(REPOSITORY), "-f", str(REPOSITORY / yaml)]
    result = subprocess.run(
        [*feast, "apply"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    for view in ("user_profile", "user_activity", "item_content", "item_popularity", "creator_statistics"):
        assert view in result.stdout
