from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset, users_frame
from streamrec.datasets.feedback import with_outcomes
from streamrec.training.splits import user_sequences

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ITEMS = ("i0", "i1", "i2")


@pytest.fixture
def dataset() -> Dataset:
    catalogue = Catalogue(
        item_ids=ITEMS,
        titles=ITEMS,
        creator_ids=ITEMS,
        creator_languages=("en",) * 3,
        topics=((),) * 3,
        published_at=np.full(3, np.datetime64("NaT"), dtype="datetime64[s]"),
    )
    interactions = pd.DataFrame(
        {
            "user_id": ["a", "a"],
            "item_id": ["i0", "i2"],
            "timestamp": pd.to_datetime([NOW, NOW + timedelta(hours=2)], utc=True),
            "event": ["click", "skip"],
        }
    )
    users = pd.DataFrame({"user_id": ["a"], "country": ["DE"]})
    return Dataset(Path("unused"), catalogue, interactions, users_frame(users, interactions))


def outcome(event_id: str, user_id: str, item_id: str, kind: InteractionKind, hours: int) -> Outcome:
    at = NOW + timedelta(hours=hours)
    return Outcome(event_id, user_id, item_id, kind, occurred_at=at, received_at=at)


def test_positive_outcomes_stand_among_the_interactions_in_the_order_of_time(dataset: Dataset) -> None:
    fed_back = with_outcomes(
        dataset,
        [
            outcome("e1", "b", "i2", InteractionKind.PLAY, 3),
            outcome("e2", "a", "i1", InteractionKind.CLICK, 1),
            outcome("e3", "a", "i2", InteractionKind.DISLIKE, 4),
            outcome("e4", "a", "gone", InteractionKind.CLICK, 5),
        ],
    )
    sequences = user_sequences(fed_back)
    assert sequences.user_ids == ("a", "b")
    assert [ITEMS[item] for item in sequences.of(0)] == ["i0", "i1"]
    assert [ITEMS[item] for item in sequences.of(1)] == ["i2"]
    negative = fed_back.negative_interactions
    assert negative[["user_id", "item_id", "event"]].to_numpy().tolist() == [
        ["a", "i2", "skip"],
        ["a", "i2", "dislike"],
    ]
    users = fed_back.users.set_index("user_id")
    assert users.loc["a", "country"] == "DE"
    assert users.loc["b", "country"] == "unknown"


def test_a_skip_is_no_interest(dataset: Dataset) -> None:
    assert [ITEMS[item] for item in user_sequences(dataset).of(0)] == ["i0"]


def test_what_was_added_changes_the_fingerprint(dataset: Dataset) -> None:
    events = [
        outcome("e1", "a", "i1", InteractionKind.CLICK, 1),
        outcome("e2", "a", "i2", InteractionKind.LIKE, 2),
    ]
    fingerprints = {
        dataset.fingerprint,
        with_outcomes(dataset, events).fingerprint,
        with_outcomes(dataset, events[:1]).fingerprint,
    }
    assert len(fingerprints) == 3
    assert with_outcomes(dataset, events[::-1]).fingerprint in fingerprints


def test_a_dislike_is_no_interest_where_the_import_names_no_events(dataset: Dataset) -> None:
    plain = replace(dataset, interactions=dataset.interactions.drop(columns="event"))
    assert plain.negative_interactions.empty
    fed_back = with_outcomes(plain, [outcome("e1", "a", "i1", InteractionKind.DISLIKE, 5)])
    assert [ITEMS[item] for item in user_sequences(fed_back).of(0)] == ["i0", "i2"]
    assert fed_back.negative_interactions["item_id"].tolist() == ["i1"]


def test_events_of_one_time_stand_in_the_order_of_their_items_and_count_once(dataset: Dataset) -> None:
    fed_back = with_outcomes(
        dataset,
        [
            outcome("e1", "b", "i2", InteractionKind.CLICK, 1),
            outcome("e2", "b", "i2", InteractionKind.PLAY, 1),
            outcome("e3", "b", "i1", InteractionKind.PLAY, 1),
            outcome("e4", "a", "i0", InteractionKind.PLAY, 0),
        ],
    )
    sequences = user_sequences(fed_back)
    assert [ITEMS[item] for item in sequences.of(1)] == ["i1", "i2"]
    assert [ITEMS[item] for item in sequences.of(0)] == ["i0"]


def test_without_interactions_nothing_changes(dataset: Dataset) -> None:
    others = [
        outcome("e2", "a", "i1", "conversion", 1),
        outcome("e3", "a", None, InteractionKind.PLAY, 1),
    ]
    assert with_outcomes(dataset, others) is dataset
