"""Trains a small ranker in a process of its own and prints its figures.

Called with a folder, which gets ``checkpoints`` while it trains and ``ranker`` at the end.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from services.recommendations.ranking.settings import (
    CombinationSettings,
    NetworkSettings,
    OptimisationSettings,
    PhaseSettings,
    RankingSettings,
)
from services.recommendations.ranking.train import clear_checkpoints, train
from services.recommendations.training.input import TrainingInput
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import SEGMENT_COLUMNS, Dataset
from streamrec.training.splits import leave_last_out

ITEM_COUNT = 200
PHASE = PhaseSettings(
    interaction_budget=30_000,
    maximum_epochs=6,
    patience=6,
    batch_interactions=128,
    learning_rate=5e-3,
    weight_decay=0.01,
)
SETTINGS = RankingSettings(
    network=NetworkSettings(dimension=16, layer_count=1, history_length=20, dropout=0.2),
    optimisation=OptimisationSettings(pools=PHASE, joint=PHASE),
    combination=CombinationSettings(negative_count=50, maximum_examples=100),
)


def dataset(folder: Path) -> Dataset:
    rng = np.random.default_rng(4)
    rows = []
    for user in range(150):
        items = (int(rng.integers(ITEM_COUNT)) + np.cumsum(rng.integers(1, 4, size=30))) % ITEM_COUNT
        rows += [(f"u{user:03d}", f"i{item:03d}", 100_000 * user + step) for step, item in enumerate(items)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s", utc=True)
    unknown = ("unknown",) * ITEM_COUNT
    item_ids = tuple(f"i{item:03d}" for item in range(ITEM_COUNT))
    published_at = np.full(ITEM_COUNT, "NaT", dtype="datetime64[s]")
    catalogue = Catalogue(item_ids, item_ids, unknown, unknown, ((),) * ITEM_COUNT, published_at)
    users = pd.DataFrame({"user_id": sorted(frame["user_id"].unique())})
    for column in SEGMENT_COLUMNS:
        users[column] = "unknown"
    users["signed_up_at"] = pd.NaT
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "interactions.parquet").write_bytes(b"fingerprinted, not read")
    return Dataset(folder, catalogue, frame, users)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    data = dataset(folder / "data")
    training = TrainingInput(
        data, leave_last_out(data), seed=3, progress=SilentProgress(), checkpoints=folder / "checkpoints"
    )
    spec = train(training, SETTINGS, folder / "ranker")
    clear_checkpoints(folder / "checkpoints")
    print(json.dumps(dict(spec.metrics), sort_keys=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
