"""The feature tables against a slow, plain reading of what they promise."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset
from streamrec.features import user_tables
from streamrec.features.item_tables import item_table_of
from streamrec.features.tables import (
    EVENT_TIMESTAMP,
    FeatureTables,
    build_feature_tables,
    empty_tables,
    newest_rows,
)
from streamrec.training.splits import leave_last_out, user_sequences

ITEMS = ("a", "b", "c", "d")
CREATORS = ("x", "x", "y", "unknown")
LANGUAGES = ("Hindi", "French", "French", "unknown")
START = 1_600_000_000


def dataset_of(events: list[tuple[str, str, int]], signed_up: dict[str, int] | None = None) -> Dataset:
    """A dataset from (user, item, second), given in any order."""
    published = np.array(["2020-09-01", "NaT", "2020-10-01", "2030-01-01"], dtype="datetime64[s]")
    catalogue = Catalogue(ITEMS, ITEMS, CREATORS, LANGUAGES, (("t",), (), ("t", "u"), ()), published)
    frame = pd.DataFrame(events, columns=["user_id", "item_id", "timestamp"])
    frame = frame.assign(timestamp=pd.to_datetime(frame["timestamp"], unit="s", utc=True).dt.as_unit("ns"))
    frame = frame.sort_values("timestamp", kind="stable", ignore_index=True)
    names = sorted({user for user, _, _ in events} | set(signed_up or {}) | {"nobody"})
    signed = pd.to_datetime([(signed_up or {}).get(name) for name in names], unit="s", utc=True)
    users = pd.DataFrame({"user_id": names, "country": "FR", "language": "fr", "age_band": "unknown"})
    users = users.assign(signup_channel="web", signed_up_at=signed)
    return Dataset(Path(), catalogue, frame, users)


def seconds(table: pa.Table) -> np.ndarray:
    return table[EVENT_TIMESTAMP].to_numpy().astype("datetime64[s]").astype(np.int64)


def as_of(table: pa.Table, key: str, entity: str, moment: int) -> dict | None:
    """The newest row of ``entity`` at or before ``moment``: what a point-in-time join returns."""
    rows = [
        row | {"second": second}
        for row, second in zip(table.to_pylist(), seconds(table).tolist(), strict=True)
        if row[key] == entity and second <= moment
    ]
    return max(rows, key=lambda row: row["second"], default=None)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["u", "v", "w"]),
        st.sampled_from(ITEMS),
        st.integers(START, START + 40 * 86_400) | st.integers(START, START + 4_000),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(events=EVENTS, moment=st.integers(START - 1, START + 41 * 86_400))
def test_no_row_known_at_a_time_tells_of_an_event_at_or_after_it(
    events: list[tuple[str, str, int]], moment: int
):
    tables = build_feature_tables(dataset_of(events))
    before = [event for event in sorted(events, key=lambda event: event[2]) if event[2] < moment]
    counts = Counter(item for _, item, _ in before)
    for user in ("u", "v", "w"):
        row = as_of(tables.user_activity, "user_id", user, moment)
        seen = [(item, second) for who, item, second in before if who == user]
        if row is not None:
            assert row["event_count"] <= len(seen)
            known = row["event_count"]
            assert row["last_event_at"].timestamp() == max(second for _, second in seen[:known])
            # Of events in one second, any order will do.
            assert Counter(row["history"]) <= Counter(item for item, _ in seen)
            assert len(row["history"]) == known
    for item in ITEMS:
        row = as_of(tables.item_popularity, "item_id", item, moment)
        assert row is None or row["interaction_count"] <= counts[item]
    for creator in set(CREATORS):
        row = as_of(tables.creators, "creator_id", creator, moment)
        theirs = sum(counts[item] for item, who in zip(ITEMS, CREATORS, strict=True) if who == creator)
        assert row is None or row["interaction_count"] <= theirs


@settings(max_examples=40, deadline=None)
@given(events=EVENTS)
def test_the_newest_rows_tell_of_everything(events: list[tuple[str, str, int]]):
    dataset = dataset_of(events)
    tables = build_feature_tables(dataset)
    activity = newest_rows(tables.user_activity, "user_id").to_pylist()
    sequences = user_sequences(dataset)
    assert {row["user_id"]: row["history"] for row in activity} == {
        user: [ITEMS[item] for item in sequences.of(row)] for row, user in enumerate(sequences.user_ids)
    }
    counts = Counter(item for _, item, _ in events)
    assert item_table_of(tables.items, tables.item_popularity).interaction_counts.tolist() == [
        counts[item] for item in ITEMS
    ]
    creators = {row["creator_id"]: row for row in newest_rows(tables.creators, "creator_id").to_pylist()}
    assert {name: row["item_count"] for name, row in creators.items()} == {"x": 2, "y": 1, "unknown": 1}
    assert creators["x"]["interaction_count"] == counts["a"] + counts["b"]
    assert creators["x"]["language"] == "French"  # one Hindi, one French: the first by name
    assert tables.users.num_rows == len(dataset.users)


def test_a_user_is_known_before_the_first_event():
    tables = build_feature_tables(dataset_of([("u", "a", START), ("v", "b", START + 10)], {"v": START - 5}))
    known = dict(zip(tables.users["user_id"].to_pylist(), seconds(tables.users).tolist(), strict=True))
    assert known == {"nobody": 0, "u": START, "v": START - 5}


def test_an_item_published_in_the_future_does_not_stamp_rows_ahead():
    tables = build_feature_tables(dataset_of([("u", "a", START)]))
    assert tables.newest == datetime.fromtimestamp(START + 1, UTC)


def test_sessions_end_after_half_an_hour():
    gap = user_tables.SESSION_GAP_SECONDS
    events = [("u", "a", START), ("u", "b", START + gap), ("u", "c", START + 2 * gap + 1)]
    activity = build_feature_tables(dataset_of(events)).user_activity
    assert activity["history"].to_pylist() == [["a", "b"], ["a", "b", "c"]]
    assert (seconds(activity) - START).tolist() == [gap + 1, 2 * gap + 2]


def test_the_history_keeps_the_newest_items(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(user_tables, "HISTORY_LIMIT", 3)
    events = [("u", ITEMS[n % 4], START + n) for n in range(10)]
    row = build_feature_tables(dataset_of(events)).user_activity.to_pylist()[-1]
    assert (row["event_count"], row["history"]) == (10, ["d", "a", "b"])


@pytest.mark.parametrize("budget", [10**9, 3_000, 200, 0])
def test_histories_stay_within_their_budget(budget: int):
    events = [("u", "a", START + 7_200 * n) for n in range(100)] + [("v", "b", START + n) for n in range(5)]
    activity = build_feature_tables(dataset_of(events), max_history_cells=budget).user_activity
    sizes = [len(history) for history in activity["history"].to_pylist()]
    assert sum(sizes) <= max(budget, 105)
    assert sizes[-2:] == [100, 5]  # the newest snapshot of each user always stays
    assert len(sizes) <= user_tables.MAX_SNAPSHOTS_PER_USER + 1


def test_dislikes_and_skips_are_a_table_of_their_own():
    dataset = dataset_of(
        [("u", item, START + 7_200 * n) for n, item in enumerate(ITEMS)] + [("v", "a", START)]
    )
    kinds = [
        "play" if user == "v" else {"a": "dislike", "b": "skip", "c": "dislike", "d": "play"}[item]
        for user, item in zip(dataset.interactions["user_id"], dataset.interactions["item_id"], strict=True)
    ]
    tables = build_feature_tables(replace(dataset, interactions=dataset.interactions.assign(event=kinds)))
    assert tables.user_activity["history"].to_pylist() == [["d"], ["a"]]
    rows = tables.user_rejections.to_pylist()
    assert [row["user_id"] for row in rows] == ["u", "u", "u"]
    assert [row["disliked"] for row in rows] == [["a"], ["a"], ["a", "c"]]
    assert [row["skipped"] for row in rows] == [[], ["b"], ["b"]]
    assert rows[-1]["disliked_times"] == [START * 1_000_000, (START + 14_400) * 1_000_000]
    assert (seconds(tables.user_rejections) - START).tolist() == [1, 7_201, 14_401]


def test_held_out_interactions_are_not_in_the_tables():
    dataset = dataset_of([("u", item, START + n) for n, item in enumerate(ITEMS)])
    tables = build_feature_tables(dataset, leave_last_out(dataset).history)
    assert tables.user_activity["history"].to_pylist() == [["a", "b", "c"]]
    assert item_table_of(tables.items, tables.item_popularity).interaction_counts.tolist() == [1, 1, 1, 0]


def test_the_revision_follows_the_content():
    def revision(events: list[tuple[str, str, int]]) -> str:
        tables = build_feature_tables(dataset_of(events))
        return item_table_of(tables.items, tables.item_popularity).revision

    first = revision([("u", "a", START)])
    assert first == revision([("v", "a", START + 5)])
    assert first != revision([("u", "b", START)])


def test_empty_tables_have_the_columns_of_full_ones():
    full: FeatureTables = build_feature_tables(dataset_of([("u", "a", START)]))
    for name, table in empty_tables().named().items():
        assert table.num_rows == 0
        assert table.schema.equals(full.named()[name].schema), name
