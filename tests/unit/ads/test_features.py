from __future__ import annotations

import pandas as pd
import pytest

from services.ads.clicks.features import INTERACTIONS_FILE, seen_before, seen_that_day
from streamrec.contracts.errors import DataFolderError


def at(*times):
    return pd.to_datetime([f"2026-05-{time}" for time in times], utc=True)


@pytest.fixture
def data(tmp_path):
    """Not in the order of time."""
    shown = pd.DataFrame(
        {
            "user_id": ["a", "a", "b", "a", "a"],
            "timestamp": at("01T23:59", "02T12:00", "02T00:00", "02T00:00", "02T12:00"),
        }
    )
    shown.to_parquet(tmp_path / INTERACTIONS_FILE)
    return tmp_path


def test_the_day_up_to_the_moment_counts_and_the_moment_does_not(data):
    wanted = pd.DataFrame(
        {
            "unit": ["a", "a", "a", "a", "b", "b", "c"],
            "at": at("02T12:01", "02T12:00", "02T00:00", "03T00:00", "02T00:00", "02T00:01", "02T12:00"),
        }
    )
    assert seen_before(data, wanted)["ads_seen_today"].tolist() == [3.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    whole = seen_that_day(data, wanted)["ads_seen_today"].tolist()
    assert whole == [3.0, 3.0, 3.0, 0.0, 1.0, 1.0, 0.0]


def test_a_folder_without_interactions_is_named(tmp_path):
    with pytest.raises(DataFolderError, match="does not exist"):
        seen_before(tmp_path, pd.DataFrame({"unit": ["a"], "at": at("02T00:00")}))
