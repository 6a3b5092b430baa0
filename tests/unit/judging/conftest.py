"""A data folder with known users, of whom one dislikes and skips."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

START = pd.Timestamp("2026-01-01", tz="UTC")
USERS, ITEMS, HISTORY = 12, 40, 9


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    pd.DataFrame(
        {
            "item_id": [f"i{row:02d}" for row in range(ITEMS)],
            "title": "a title",
            "creator_id": "c",
            "creator_language": ["en", "fi"] * (ITEMS // 2),
            "topics": [["t"]] * ITEMS,
            "published_at": START,
        }
    ).to_parquet(folder / "items.parquet")
    pd.DataFrame(
        {
            "user_id": [f"u{row:02d}" for row in range(USERS)],
            "country": ["FI", "DE", None] * (USERS // 3),
            "language": ["fi", "de"] * (USERS // 2),
            "age_band": "18-24",
            "signup_channel": "organic",
            "signed_up_at": START,
        }
    ).to_parquet(folder / "users.parquet")
    rows = [
        (f"u{user:02d}", f"i{(3 * user + step) % ITEMS:02d}", START + pd.Timedelta(hours=24 * step), "play")
        for user in range(USERS)
        for step in range(HISTORY)
    ]
    rows += [
        ("u00", "i30", START + pd.Timedelta(hours=30), "dislike"),
        ("u00", "i31", START + pd.Timedelta(hours=31), "skip"),
    ]
    columns = ["user_id", "item_id", "timestamp", "event"]
    pd.DataFrame(rows, columns=columns).to_parquet(folder / "interactions.parquet")
    return folder
