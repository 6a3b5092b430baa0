from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset, users_frame
from streamrec.datasets.logged_segments import logged_segments, with_segments
from streamrec.events.memory_event_log import MemoryEventLog
from streamrec.events.time_range import TimeRange
from tests.made_events import NOON, an_impression


def dataset() -> Dataset:
    catalogue = Catalogue(("i",), ("i",), ("c",), ("en",), ((),), np.array(["NaT"], dtype="datetime64[s]"))
    interactions = pd.DataFrame(
        {"user_id": ["a", "new"], "item_id": "i", "timestamp": pd.to_datetime([NOON, NOON], utc=True)}
    )
    known = pd.DataFrame({"user_id": ["a"], "country": ["DE"]})
    return Dataset(Path("unused"), catalogue, interactions, users_frame(known, interactions))


def test_the_newest_request_says_what_it_knows_of_a_user():
    log = MemoryEventLog()
    log.append(
        [
            an_impression(2, unit="new", features={"country": "FI", "language": "unknown", "history": []}),
            an_impression(1, unit="new", features={"country": "SE", "language": "sv"}),
            an_impression(3, unit="new"),
            an_impression(4, unit="other", features={"language": "unknown", "age_band": 7}),
        ]
    )
    assert logged_segments(log) == {"new": {"country": "FI", "language": "sv"}}
    earlier = TimeRange(end=NOON + timedelta(seconds=2))
    assert logged_segments(log, earlier) == {"new": {"country": "SE", "language": "sv"}}


def test_what_an_import_says_is_believed_first_and_who_only_asked_is_a_user_too():
    told = {
        "new": {"country": "FI", "language": "fi"},
        "a": {"country": "FI", "language": "de"},
        "stranger": {"country": "FI"},
    }
    found = with_segments(dataset(), told)
    assert found.users["user_id"].tolist() == ["a", "new", "stranger"]
    assert found.users["country"].tolist() == ["DE", "FI", "FI"]
    assert found.users["language"].tolist() == ["de", "fi", "unknown"]
    assert found.users["age_band"].tolist() == ["unknown"] * 3
    assert found.users.dtypes.tolist() == dataset().users.dtypes.tolist()


def test_what_was_added_changes_the_additions_and_nothing_added_changes_nothing():
    plain = dataset()
    assert with_segments(plain, {"a": {"country": "FI"}}) is plain
    first = with_segments(plain, {"new": {"country": "FI"}})
    second = with_segments(plain, {"new": {"country": "SE"}})
    assert len({plain.additions, first.additions, second.additions}) == 3
    assert with_segments(plain, {"new": {"country": "FI"}}).additions == first.additions
