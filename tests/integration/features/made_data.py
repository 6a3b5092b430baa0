"""Small data sets that features are materialised from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from streamrec.contracts.events import InteractionKind
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset
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
