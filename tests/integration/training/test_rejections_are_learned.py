"""What a group of users dislikes or skips falls for them in the ranker that is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from services.recommendations.ranking.catalogue_ranker import RankerAsCatalogueRanker
from services.recommendations.ranking.model import RankingModel
from services.recommendations.ranking.settings import (
    CombinationSettings,
    NetworkSettings,
    OptimisationSettings,
    PhaseSettings,
    RankingSettings,
)
from services.recommendations.ranking.train import train
from services.recommendations.training.histories import segments_by_user
from services.recommendations.training.input import TrainingInput
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset, users_frame
from streamrec.training.splits import leave_last_out

ITEMS = tuple(f"i{row:02d}" for row in range(40))
HIT = 3
USERS = 120
TIMES = {"skip": 6, "dislike": 1}
START = pd.Timestamp("2026-03-01", tz="UTC")

PHASE = PhaseSettings(
    interaction_budget=20_000,
    maximum_epochs=8,
    patience=8,
    batch_interactions=64,
    learning_rate=1e-2,
    weight_decay=0.0,
)
RANKING = RankingSettings(
    network=NetworkSettings(dimension=16, layer_count=1, history_length=10, dropout=0.1),
    optimisation=OptimisationSettings(pools=PHASE, joint=replace(PHASE, maximum_epochs=3)),
    combination=CombinationSettings(negative_count=30),
)


def a_dataset(folder: Path, event: str, hour: float) -> Dataset:
    """Half of the Swedes take up one item early, so that it is the most popular one; the Finns may reject it.

    Args:
        folder: Of the data set.
        event: What the Finns do with it; nothing where empty.
        hour: When they say so.
    """
    rng = np.random.default_rng(11)
    others = np.delete(np.arange(len(ITEMS)), HIT)
    rows = []
    for user in range(USERS):
        taken = rng.choice(others, 9, replace=False)
        if user % 4 == 0 and event:
            rows += [(f"u{user:03d}", ITEMS[HIT], event, hour)] * TIMES[event]
        elif user % 4 in (1, 2):
            taken[2 + user % 5] = HIT
        rows += [(f"u{user:03d}", ITEMS[item], "play", place) for place, item in enumerate(taken)]
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "event", "timestamp"])
    interactions["timestamp"] = START + pd.to_timedelta(interactions["timestamp"], unit="h")
    interactions = interactions.sort_values("timestamp", kind="stable", ignore_index=True)
    users = pd.DataFrame(
        {
            "user_id": [f"u{user:03d}" for user in range(USERS)],
            "country": ["FI" if user % 4 == 0 else "SE" for user in range(USERS)],
        }
    )
    count = len(ITEMS)
    catalogue = Catalogue(
        ITEMS,
        ITEMS,
        ("unknown",) * count,
        ("fi",) * count,
        ((),) * count,
        np.full(count, np.datetime64("NaT", "s")),
    )
    folder.mkdir()
    (folder / "interactions.parquet").write_bytes(b"fingerprinted, not read")
    return Dataset(folder, catalogue, interactions, users_frame(users, interactions))


def trained(folder: Path, event: str, hour: float = 0.5) -> NDArray[np.int32]:
    """Shape (users, items): what the ranker puts first for each Finn; it hides nothing."""
    dataset = a_dataset(folder / "data", event, hour)
    split = leave_last_out(dataset)
    model = folder / "model"
    train(TrainingInput(dataset, split, seed=3, progress=SilentProgress()), RANKING, model)
    ranker = RankerAsCatalogueRanker(RankingModel.load(model), segments_by_user(dataset))
    users = np.arange(0, USERS, 4, dtype=np.int32)
    return ranker.top_items(users, split.train, len(ITEMS))


def mean_rank(lists: NDArray[np.int32]) -> float:
    return float((np.argmax(lists == HIT, axis=1) + 1).mean())


def test_what_they_reject_falls_for_them_and_a_dislike_more_than_six_skips(tmp_path):
    ranks = {}
    for event in ("", "skip", "dislike"):
        folder = tmp_path / f"{event or 'nothing'}-run"
        folder.mkdir()
        ranks[event] = mean_rank(trained(folder, event))
    assert ranks[""] < ranks["skip"] < ranks["dislike"]
    assert ranks["dislike"] > ranks[""] + 5


def test_what_is_rejected_after_all_examples_changes_no_model(tmp_path):
    lists = []
    for event in ("", "dislike"):
        folder = tmp_path / (event or "nothing")
        folder.mkdir()
        lists.append(trained(folder, event, hour=7.5))
    content = [
        {
            path.name: path.read_bytes()
            for path in (tmp_path / name / "model").iterdir()
            if path.suffix in (".safetensors", ".npz")
        }
        for name in ("nothing", "dislike")
    ]
    assert content[0]
    assert content[0] == content[1]
    np.testing.assert_array_equal(*lists)
