"""A small data set in which order matters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from services.recommendations.ranking.settings import (
    CombinationSettings,
    FeatureSettings,
    NetworkSettings,
    OptimisationSettings,
    PhaseSettings,
    RankingSettings,
)
from services.recommendations.training.input import TrainingInput
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import SEGMENT_COLUMNS, Dataset
from streamrec.training.splits import leave_last_out

ITEM_COUNT = 60
USER_COUNT = 80


def make_dataset(folder: Path, seed: int = 5) -> Dataset:
    """Users walk round the catalogue: after item i comes i + 1, sometimes i + 2, rarely anything else.

    Item 59 is never visited.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(USER_COUNT):
        item = int(rng.integers(ITEM_COUNT - 1))
        seen: set[int] = set()
        for step in range(12 + user % 15):
            if item not in seen:
                rows.append((f"u{user:03d}", f"i{item:02d}", 1_000_000 * user + step * 60))
                seen.add(item)
            jump = rng.choice([1, 2, int(rng.integers(1, 59))], p=[0.75, 0.15, 0.1])
            item = (item + int(jump)) % (ITEM_COUNT - 1)
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s", utc=True)
    frame = frame.sort_values("timestamp", kind="stable", ignore_index=True)
    catalogue = Catalogue(
        item_ids=tuple(f"i{item:02d}" for item in range(ITEM_COUNT)),
        titles=tuple(f"Item {item}" for item in range(ITEM_COUNT)),
        creator_ids=tuple("unknown" if item == 7 else f"c{item // 6}" for item in range(ITEM_COUNT)),
        creator_languages=tuple(("en", "hi", "unknown")[item % 3] for item in range(ITEM_COUNT)),
        topics=tuple(() if item % 10 == 0 else (f"t{item // 12}", "all") for item in range(ITEM_COUNT)),
        published_at=np.array(
            ["NaT" if item % 7 == 0 else f"19{60 + item % 30}-03-01" for item in range(ITEM_COUNT)],
            dtype="datetime64[s]",
        ),
    )
    users = pd.DataFrame({"user_id": sorted(frame["user_id"].unique())})
    for column in SEGMENT_COLUMNS:
        users[column] = "unknown"
    users["signed_up_at"] = pd.NaT
    dataset = Dataset(folder, catalogue, frame, users)
    (folder / "interactions.parquet").write_bytes(b"fingerprinted, not read")
    return dataset


SMALL = RankingSettings(
    network=NetworkSettings(dimension=16, layer_count=1, history_length=10, dropout=0.1),
    optimisation=OptimisationSettings(
        pools=PhaseSettings(
            interaction_budget=15_000,
            maximum_epochs=12,
            patience=12,
            batch_interactions=128,
            learning_rate=1e-2,
            weight_decay=0.0,
        ),
        joint=PhaseSettings(
            interaction_budget=8_000,
            maximum_epochs=6,
            patience=6,
            batch_interactions=128,
            learning_rate=5e-3,
            weight_decay=0.01,
        ),
        uniform_negative_count=60,
        popular_negative_count=60,
    ),
    features=FeatureSettings(history_length=20, transition_window=3, neighbour_count=20),
    combination=CombinationSettings(negative_count=30),
)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("ranking-data"))


@pytest.fixture(scope="session")
def training(dataset: Dataset) -> TrainingInput:
    return TrainingInput(dataset, leave_last_out(dataset), seed=3, progress=SilentProgress())


@pytest.fixture(scope="session")
def settings() -> RankingSettings:
    return SMALL
