from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from services.recommendations.world.generate import generate_world
from services.recommendations.world.labels import AGE_BANDS, LANGUAGES, SIGNUP_CHANNELS, TOPICS
from services.recommendations.world.settings import WorldSettings
from streamrec.contracts.errors import DataFolderError
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.dataset import load_dataset

SETTINGS = WorldSettings(users=300, items=1_200, seed=4)
FILES = ("interactions.parquet", "items.parquet", "users.parquet", "world.json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("world") / "new" / "folder"
    generate_world(SETTINGS, path, SilentProgress())
    return path


def test_the_same_seed_gives_the_same_bytes_even_over_an_old_world(folder: Path, tmp_path: Path):
    generate_world(WorldSettings(users=200, items=600, seed=5), tmp_path, SilentProgress())
    others = {name: (tmp_path / name).read_bytes() for name in FILES}
    generate_world(SETTINGS, tmp_path, SilentProgress())
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
        assert others[name] != (folder / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)


def test_another_seed_gives_another_world(folder: Path, tmp_path: Path):
    generate_world(WorldSettings(users=300, items=1_200, seed=6), tmp_path, SilentProgress())
    assert all((tmp_path / name).read_bytes() != (folder / name).read_bytes() for name in FILES)


def test_the_folder_loads_with_nothing_unknown(folder: Path):
    dataset = load_dataset(folder)
    assert dataset.catalogue.languages == LANGUAGES
    assert len(dataset.catalogue) == SETTINGS.items
    assert len(dataset.users) == SETTINGS.users
    assert dataset.catalogue.item_ids == tuple(f"item-{row:07d}" for row in range(SETTINGS.items))
    assert set(dataset.interactions["event"]) == {"click", "play", "complete"}
    assert set(dataset.users["age_band"]) <= set(AGE_BANDS)
    assert set(dataset.users["signup_channel"]) <= set(SIGNUP_CHANNELS)
    assert {topic for topics in dataset.catalogue.topics for topic in topics} <= set(TOPICS)
    assert all(1 <= len(topics) <= 2 for topics in dataset.catalogue.topics)
    assert not np.isnat(dataset.catalogue.published_at).any()
    assert dataset.users["signed_up_at"].notna().all()
    signed_up = dataset.users.set_index("user_id")["signed_up_at"]
    interactions = dataset.interactions
    assert (interactions["timestamp"].to_numpy() >= signed_up[interactions["user_id"]].to_numpy()).all()


def test_the_files_hold_the_columns_of_the_format_and_no_truth(folder: Path):
    assert pq.read_schema(folder / "interactions.parquet").names == [
        "user_id",
        "item_id",
        "timestamp",
        "event",
    ]
    assert pq.read_schema(folder / "items.parquet").names == [
        "item_id",
        "title",
        "creator_id",
        "creator_language",
        "topics",
        "published_at",
    ]
    assert pq.read_schema(folder / "users.parquet").names == [
        "user_id",
        "country",
        "language",
        "age_band",
        "signup_channel",
        "signed_up_at",
    ]


def test_the_summary_agrees_with_the_files(folder: Path):
    described = json.loads((folder / "world.json").read_text())
    assert described["settings"] == {"users": 300, "items": 1_200, "seed": 4, "days": 30}
    summary = described["summary"]
    dataset = load_dataset(folder)
    assert summary["interactions"] == len(dataset.interactions)
    churn = summary["seven_day_churn"]
    assert 0.0 <= churn["low"] <= churn["value"] <= churn["high"] <= 1.0
    assert sum(summary["exposure_by_language"].values()) == pytest.approx(1.0)
    rates = summary["click_rate_by_position"]
    assert len(rates) == 10
    assert rates[0] > 2 * rates[9]


def test_too_short_a_window_says_that_churn_is_not_known(tmp_path: Path):
    summary = generate_world(WorldSettings(users=50, items=600, days=3), tmp_path, SilentProgress())
    assert summary.seven_day_churn is None
    assert json.loads((tmp_path / "world.json").read_text())["summary"]["seven_day_churn"] is None


def test_one_user_and_one_day_are_a_world(tmp_path: Path):
    summary = generate_world(WorldSettings(users=1, items=240, days=1, seed=2), tmp_path, SilentProgress())
    assert summary.users == 1
    assert (tmp_path / "interactions.parquet").exists()


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path):
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    with pytest.raises(DataFolderError, match="cannot be written"):
        generate_world(WorldSettings(users=20, items=240, days=1), blocker / "world", SilentProgress())


def test_progress_reaches_its_total(tmp_path: Path):
    class Counting(SilentProgress):
        total = done = finished = 0

        def start(self, description: str, total: int) -> None:
            assert description
            self.total += total

        def advance(self, steps: int = 1, note: str = "") -> None:
            assert note
            self.done += steps

        def finish(self, note: str = "") -> None:
            assert note
            self.finished += 1

    progress = Counting()
    generate_world(WorldSettings(users=20, items=240, days=2), tmp_path, progress)
    assert progress.done == progress.total > 0
    assert progress.finished == 1
