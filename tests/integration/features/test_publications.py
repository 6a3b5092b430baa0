"""Readers and writers go on, and lose nothing, while features are published anew."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing.queues import Queue

import pytest

from streamrec.contracts.conventions import HISTORY_LIMIT
from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.datasets.feedback import with_outcomes
from streamrec.features import materialization
from streamrec.features.feast_store import FeastFeatureStore
from streamrec.features.new_actions import NewActions
from streamrec.features.settings import FeatureSettings
from streamrec.features.user_actions import UserAction
from tests.integration.features.made_data import START, dataset_of, play


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
