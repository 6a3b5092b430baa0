"""An example knows what its user had rejected before it, and nothing of what came later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from services.recommendations.ranking.negatives import RejectedVectors
from services.recommendations.ranking.negatives import sampled_softmax_loss as ranking_loss
from services.recommendations.training.known_rejections import (
    NO_KNOWN_REJECTIONS,
    KnownRejections,
    RejectionSettings,
)
from streamrec.contracts.errors import InvalidInputError
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset, users_frame
from streamrec.training.splits import user_sequences

START = pd.Timestamp("2026-03-01", tz="UTC")
ITEMS = tuple("abcdefgh")
WEIGHTS = RejectionSettings(dislike_weight=10.0, skip_weight=2.0, newest_count=2)


def a_dataset(*rows: tuple[str, str, str, float]) -> Dataset:
    """Rows of user, item, event and second."""
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "event", "timestamp"])
    interactions["timestamp"] = START + pd.to_timedelta(interactions["timestamp"], unit="s")
    count = len(ITEMS)
    catalogue = Catalogue(
        ITEMS, ITEMS, ITEMS, ("fi",) * count, ((),) * count, np.full(count, np.datetime64("NaT", "s"))
    )
    interactions = interactions.sort_values("timestamp", kind="stable", ignore_index=True)
    users = users_frame(pd.DataFrame({"user_id": []}), interactions)
    return Dataset(Path("none"), catalogue, interactions, users)


def known(dataset: Dataset, settings: RejectionSettings = WEIGHTS) -> list[dict[str, float]]:
    """For each train interaction the total weight of each item that was rejected before."""
    sequences = user_sequences(dataset)
    found = KnownRejections.of(dataset, sequences, settings).before(np.arange(sequences.items.size))
    result = []
    for items, log_weights in zip(found.items, found.log_weights, strict=True):
        assert ((items < 0) == np.isneginf(log_weights)).all()
        weights: dict[str, float] = {}
        for item, weight in zip(items, np.exp(log_weights), strict=True):
            if item >= 0:
                weights[ITEMS[item]] = weights.get(ITEMS[item], 0.0) + round(float(weight), 4)
        result.append(weights)
    return result


def test_what_is_rejected_counts_from_the_next_second_on_and_for_that_user_alone():
    dataset = a_dataset(
        ("u", "a", "play", 0),
        ("u", "h", "dislike", 1),
        ("u", "b", "play", 1.5),  # the same second: not known for certain
        ("u", "c", "play", 2),
        ("u", "g", "skip", 3),
        ("u", "d", "play", 4),
        ("u", "f", "dislike", 5),
        ("v", "a", "play", 6),
        ("v", "g", "dislike", 7),
        ("w", "a", "play", 8),
    )
    assert known(dataset) == [{}, {}, {"h": 10.0}, {"h": 10.0, "g": 2.0}, {}, {}]


def test_the_newest_of_each_kind_count_and_repeated_skips_add_up():
    dataset = a_dataset(
        *(("u", item, "dislike", second) for second, item in enumerate("fgh")),
        *(("u", "e", "skip", second) for second in range(5)),
        ("u", "a", "play", 9),
    )
    assert known(dataset) == [{"h": 10.0, "g": 10.0, "e": 4.0}]


def test_an_item_that_the_user_takes_up_is_no_negative_of_that_user():
    dataset = a_dataset(
        ("u", "a", "skip", 0),
        ("u", "b", "play", 1),
        ("u", "a", "play", 2),
        ("u", "c", "play", 3),
        ("v", "a", "skip", 0),
        ("v", "b", "play", 1),
    )
    assert known(dataset) == [{}, {}, {}, {"a": 2.0}]


def test_interest_that_is_held_out_says_nothing():
    dataset = a_dataset(("u", "b", "skip", 0), ("u", "a", "play", 1), ("u", "b", "play", 2))
    short = user_sequences(a_dataset(("u", "a", "play", 1)))
    found = KnownRejections.of(dataset, short, WEIGHTS).before(np.arange(1))
    assert found.items.tolist() == [[ITEMS.index("b")]]


def test_there_is_no_column_where_there_is_nothing():
    for dataset in (
        a_dataset(("u", "a", "play", 0)),
        a_dataset(("u", "a", "play", 0), ("u", "b", "dislike", 1)),
        a_dataset(("u", "a", "play", 1), ("nobody", "b", "dislike", 0)),
    ):
        sequences = user_sequences(dataset)
        found = KnownRejections.of(dataset, sequences, WEIGHTS).before(np.arange(1))
        assert found.items.shape == found.log_weights.shape == (1, 0)
    assert NO_KNOWN_REJECTIONS.before(np.arange(3)).items.shape == (3, 0)


def test_a_weight_of_zero_leaves_a_kind_out():
    dataset = a_dataset(("u", "g", "dislike", 0), ("u", "h", "skip", 0), ("u", "a", "play", 1))
    assert known(dataset, RejectionSettings(dislike_weight=0.0, skip_weight=1.0)) == [{"h": 1.0}]
    assert known(dataset, RejectionSettings(dislike_weight=1.0, skip_weight=0.0)) == [{"g": 1.0}]


@pytest.mark.parametrize(
    "values",
    [
        {"dislike_weight": -1.0},
        {"skip_weight": float("inf")},
        {"skip_weight": float("nan")},
        {"newest_count": 0},
    ],
)
def test_settings_that_cannot_work_are_refused(values):
    with pytest.raises(InvalidInputError, match=next(iter(values))):
        RejectionSettings(**values)


def test_a_rejected_item_stands_in_the_rankers_softmax_as_often_as_its_weight():
    torch.manual_seed(4)
    # Short vectors: no logit is so large that the others do not matter.
    users, targets, negatives, rejected = (torch.randn(n, 5) * 0.4 for n in (1, 1, 6, 1))
    several = torch.cat([negatives, *[rejected] * 3])
    expected = ranking_loss(users, targets, several, torch.zeros(9), torch.zeros(1, 9).bool(), 0.5)
    more = RejectedVectors(
        torch.stack([rejected, torch.randn(1, 5)], dim=1), torch.tensor([[np.log(3.0), -np.inf]]).float()
    )
    given = ranking_loss(users, targets, negatives, torch.zeros(6), torch.zeros(1, 6).bool(), 0.5, more)
    torch.testing.assert_close(given, expected)
