"""A small world with structure: users keep to one of four genres, and so do creators."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from services.recommendations.retrieval.settings import RetrievalSettings
from services.recommendations.training.input import TrainingInput
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import INTERACTIONS_FILE, Dataset
from streamrec.training.splits import leave_last_out

GENRES = ("comedy", "crime", "nature", "sport")
ITEMS_PER_GENRE = 40
USERS = 160


def genre_catalogue(item_ids: tuple[str, ...], genres: tuple[str, ...]) -> Catalogue:
    return Catalogue(
        item_ids=item_ids,
        titles=item_ids,
        creator_ids=tuple(f"studio-{genre}-{number % 3}" for number, genre in enumerate(genres)),
        creator_languages=tuple("en" if number % 3 else "fr" for number in range(len(item_ids))),
        topics=tuple((genre,) if genre else () for genre in genres),
        published_at=np.full(len(item_ids), np.datetime64("NaT"), dtype="datetime64[s]"),
    )


@pytest.fixture(scope="session")
def training(tmp_path_factory: pytest.TempPathFactory) -> TrainingInput:
    rng = np.random.default_rng(0)
    genres = tuple(genre for genre in GENRES for _ in range(ITEMS_PER_GENRE))
    item_ids = tuple(f"{genre}-{number:02}" for genre in GENRES for number in range(ITEMS_PER_GENRE))
    rows = []
    for user in range(USERS):
        genre = user % len(GENRES)
        favourites = genre * ITEMS_PER_GENRE + rng.choice(ITEMS_PER_GENRE, size=14, replace=False)
        others = rng.choice(len(item_ids), size=2, replace=False)
        for second, item in enumerate(rng.permutation(np.union1d(favourites, others))):
            rows.append((f"user-{user:03}", item_ids[item], second))
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "second"])
    interactions["timestamp"] = pd.to_datetime(interactions.pop("second"), unit="s", utc=True)
    interactions = interactions.sort_values("timestamp", kind="stable", ignore_index=True)
    user_ids = [f"user-{user:03}" for user in range(USERS)]
    users = pd.DataFrame(
        {
            "user_id": user_ids,
            # The country tells the genre: a segment must be worth something to a user without history.
            "country": [f"land-of-{GENRES[user % len(GENRES)]}" for user in range(USERS)],
            "language": "unknown",
            "age_band": "unknown",
            "signup_channel": "web",
            "signed_up_at": pd.NaT,
        }
    )
    folder = tmp_path_factory.mktemp("dataset")
    (folder / INTERACTIONS_FILE).write_text(json.dumps(rows))  # only its digest matters here
    dataset = Dataset(folder, genre_catalogue(item_ids, genres), interactions, users)
    return TrainingInput(dataset, leave_last_out(dataset), seed=5, progress=SilentProgress())


@pytest.fixture(scope="session")
def settings() -> RetrievalSettings:
    return RetrievalSettings(
        dimension=16,
        history_length=12,
        epoch_count=6,
        patience=6,
        batch_size=128,
        uniform_negative_count=64,
        learning_rate=0.02,
        item_dropout=0.2,
    )
