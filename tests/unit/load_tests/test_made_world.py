"""The made-up world of a load test: the same for the same settings, and as large as it says."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from services.recommendations.load_tests.made_world import MadeWorld
from services.recommendations.load_tests.world_settings import WorldSettings
from streamrec.contracts.errors import InvalidInputError
from streamrec.datasets.dataset import load_dataset

SMALL = WorldSettings(item_count=1_000, user_count=50, longest_history=60, median_history=20)


def test_the_same_settings_make_the_same_world_and_another_seed_another() -> None:
    offsets, items = MadeWorld.of(SMALL).histories()
    again = MadeWorld.of(SMALL).histories()
    other = MadeWorld.of(replace(SMALL, seed=2)).histories()
    assert np.array_equal(offsets, again[0])
    assert np.array_equal(items, again[1])
    assert not np.array_equal(items, other[1])


def test_histories_have_the_lengths_asked_for_and_no_item_twice() -> None:
    offsets, items = MadeWorld.of(SMALL).histories()
    lengths = np.diff(offsets)
    assert len(lengths) == SMALL.user_count
    assert lengths.min() >= 1
    assert lengths.max() == SMALL.longest_history
    assert 10 <= np.median(lengths) <= 40
    for start, end in pairwise(offsets):
        assert len(np.unique(items[start:end])) == end - start


def test_users_keep_mostly_to_a_few_clusters() -> None:
    world = MadeWorld.of(WorldSettings(item_count=10_000, user_count=50))
    offsets, items = world.histories()
    shares = []
    for start, end in pairwise(offsets):
        counts = np.bincount(world.clusters[items[start:end]], minlength=world.cluster_count)
        shares.append(np.sort(counts)[-3:].sum() / counts.sum())
    assert world.cluster_count == 40
    assert 0.6 < np.mean(shares) < 0.98


def test_what_is_written_is_a_data_folder_of_that_size(tmp_path) -> None:
    world = MadeWorld.of(SMALL)
    world.write(tmp_path / "made")
    dataset = load_dataset(tmp_path / "made")
    offsets, items = world.histories()
    assert dataset.catalogue.item_ids == world.item_ids()
    assert len(dataset.users) == SMALL.user_count
    one = dataset.interactions[dataset.interactions["user_id"] == SMALL.user_id(7)]
    expected = [world.item_ids()[row] for row in items[offsets[7] : offsets[8]]]
    assert one["item_id"].tolist() == expected
    assert dataset.catalogue.creator_languages[3] in dataset.catalogue.languages


def test_the_key_names_the_items_and_changes_with_every_setting() -> None:
    assert SMALL.key.startswith("1000-items-")
    assert len({SMALL.key, replace(SMALL, seed=2).key, replace(SMALL, user_count=51).key}) == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [("item_count", 10), ("user_count", 0), ("longest_history", 501), ("median_history", 61)],
)
def test_settings_out_of_range_are_refused_by_name(field, value) -> None:
    with pytest.raises(InvalidInputError, match=field):
        replace(SMALL, **{field: value})
