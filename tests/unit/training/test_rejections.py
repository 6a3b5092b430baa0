"""Dislikes and skips reach training: what was taken back is not learned, and states know the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from services.recommendations.training.histories import user_states
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset, users_frame
from streamrec.training.lasting_interest import lasting_interactions, taken_back
from streamrec.training.splits import leave_last_out, user_sequences

START = pd.Timestamp("2026-03-01", tz="UTC")
ITEMS = ("a", "b", "c", "d", "e")


def a_dataset(*rows):
    """Rows of user, item, event and hour."""
    interactions = pd.DataFrame(
        {
            "user_id": [row[0] for row in rows],
            "item_id": [row[1] for row in rows],
            "timestamp": [START + pd.Timedelta(hours=row[3]) for row in rows],
            "event": [row[2] for row in rows],
        }
    )
    catalogue = Catalogue(ITEMS, ITEMS, ITEMS, ("fi",) * 5, ((),) * 5, np.full(5, np.datetime64("NaT", "s")))
    return Dataset(
        Path("none"), catalogue, interactions, users_frame(pd.DataFrame({"user_id": []}), interactions)
    )


def sequences(dataset):
    histories = user_sequences(dataset)
    return {
        user_id: "".join(ITEMS[item] for item in histories.of(row))
        for row, user_id in enumerate(histories.user_ids)
    }


def test_the_last_word_of_the_same_user_counts():
    dataset = a_dataset(
        ("u", "a", "play", 0),
        ("u", "b", "play", 1),
        ("v", "a", "play", 1),
        ("u", "a", "dislike", 2),
        ("u", "b", "skip", 2),
        ("u", "c", "dislike", 3),
        ("u", "c", "like", 4),
        ("u", "d", "play", 5),
        ("u", "d", "dislike", 5),
    )
    assert sequences(dataset) == {"u": "bc", "v": "a"}
    assert taken_back(dataset).tolist() == [True, False, False, False, True]


def test_without_dislikes_the_very_same_interactions_are_trained_on():
    dataset = a_dataset(("u", "a", "play", 0), ("u", "a", "skip", 1))
    assert lasting_interactions(dataset) is dataset.positive_interactions


def test_a_state_knows_what_was_rejected_by_then_and_nothing_of_later():
    dataset = a_dataset(
        ("u", "a", "play", 0),
        ("u", "b", "play", 1),
        ("u", "e", "skip", 2),
        ("u", "a", "dislike", 5),
        ("u", "c", "play", 6),  # the validation item
        ("u", "e", "skip", 7),
        ("u", "d", "play", 8),  # the test item
        ("u", "e", "dislike", 9),
        ("u", "b", "skip", 10),
    )
    split = leave_last_out(dataset)
    (validated,) = user_states(dataset, split.train)
    assert (validated.history, validated.disliked) == (("b",), ("a",))
    assert (validated.skipped, validated.skip_ages_hours) == (("e",), (4,))
    (tested,) = user_states(dataset, split.history)
    assert (tested.history, tested.disliked, tested.skip_ages_hours) == (("b", "c"), ("a",), (6, 1))
    (now,) = user_states(dataset, user_sequences(dataset))
    assert (now.history, now.disliked) == (("b", "c", "d"), ("a", "e"))
    assert (now.skipped, now.skip_ages_hours) == (("e", "e", "b"), (8, 3, 0))


def test_what_is_taken_back_later_was_history_at_the_time():
    dataset = a_dataset(
        ("u", "a", "play", 0),
        ("u", "b", "play", 1),
        ("u", "c", "play", 2),
        ("u", "d", "play", 3),
        ("u", "a", "dislike", 4),
    )
    split = leave_last_out(dataset)
    (validated,) = user_states(dataset, split.train)
    assert (validated.history, validated.disliked) == (("a", "b"), ())
    assert sequences(dataset) == {"u": "bcd"}
