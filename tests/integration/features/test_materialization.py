"""Features on real Feast: plain `feast`, several processes, a Redis that is gone, time travel."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from streamrec.contracts.errors import (
    DataFolderError,
    DependencyError,
    InvalidInputError,
    NotFoundError,
    NotReadyError,
)
from streamrec.datasets.dataset import Dataset
from streamrec.features import materialization
from streamrec.features.feast_store import FeastFeatureStore
from streamrec.features.settings import FeatureSettings
from tests.integration.features.made_data import REPOSITORY, START, dataset_of, play


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
    assert redis_server.key_count() == 9 + 1  # users, and what marks their rows as there
    store = materialization.open_feature_store(remote)
    store.add_actions({"u00001": [play("i00000")]})
    smaller = dataset_of(users=4, items=3, events_per_user=5)
    materialization.materialize(remote, smaller)
    assert redis_server.key_count() == 4 + 1 + 9 + 1
    assert redis_server.lasting_key_count() == 4 + 1
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
