"""The catalogue as of the item log."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from streamrec.contracts.events import Outcome
from streamrec.contracts.items import Item
from streamrec.datasets.dataset import Dataset, users_frame
from streamrec.datasets.feedback import with_outcomes
from streamrec.datasets.item_changes import catalogue_of, with_item_changes, with_item_log
from streamrec.items.memory_item_log import MemoryItemLog
from streamrec.items.state import ItemState

IMPORTED = catalogue_of([Item("b", "B", "c-1", "en", ("x",)), Item("d", "D"), Item("a", "A", topics=("y",))])
NEW = Item("c", "C", "c-2", "fi", ("z", "y"), datetime(2026, 1, 2, 3, tzinfo=UTC))


def state(*changes):
    log = MemoryItemLog()
    log.append(changes)
    log.refresh()
    return log.current


def test_what_was_put_is_added_or_replaces_and_what_was_removed_is_gone():
    catalogue = with_item_changes(
        IMPORTED, state(NEW, Item("a", "A again", topics=("q",)), "d", "unheard-of")
    )
    assert catalogue.item_ids == ("a", "b", "c")
    assert catalogue.titles == ("A again", "B", "C")
    assert catalogue.creator_languages == ("unknown", "en", "fi")
    assert catalogue.topics == (("q",), ("x",), ("z", "y"))
    assert catalogue.published_at[2] == np.datetime64("2026-01-02T03:00:00")
    assert np.isnat(catalogue.published_at[0])


def test_without_a_log_nothing_changes():
    assert with_item_changes(IMPORTED, ItemState()) is IMPORTED
    assert with_item_log(dataset(), ItemState()).fingerprint == dataset().fingerprint


def dataset():
    interactions = pd.DataFrame(
        {
            "user_id": ["u", "u", "v"],
            "item_id": ["a", "d", "b"],
            "timestamp": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"], utc=True),
        }
    )
    return Dataset(Path("none"), IMPORTED, interactions, users_frame(interactions[["user_id"]], interactions))


def test_training_sees_the_catalogue_of_the_log_and_nothing_of_removed_items():
    changed = with_item_log(dataset(), state(NEW, "d"))
    assert changed.catalogue.item_ids == ("a", "b", "c")
    assert changed.interactions["item_id"].tolist() == ["a", "b"]
    assert len(changed.users) == 2
    assert changed.fingerprint != dataset().fingerprint
    assert changed.fingerprint != with_item_log(dataset(), state(NEW)).fingerprint


def test_what_users_did_with_a_new_item_is_in_their_histories():
    moment = datetime(2026, 2, 1, tzinfo=UTC)
    outcome = Outcome("e", "v", "c", "click", moment, moment)
    assert len(with_outcomes(dataset(), [outcome]).interactions) == 3
    joined = with_outcomes(with_item_log(dataset(), state(NEW)), [outcome])
    assert joined.interactions["item_id"].tolist() == ["a", "d", "b", "c"]
