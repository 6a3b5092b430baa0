from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrec.contracts.errors import InvalidInputError
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset
from streamrec.training.splits import evaluable, leave_last_out, user_sequences

ITEMS = tuple(f"i{number}" for number in range(9))


def dataset_of(rows: list[tuple[str, str, int]]) -> Dataset:
    """A dataset of (user, item, second) rows, in the order of a file."""
    catalogue = Catalogue(
        item_ids=ITEMS,
        titles=ITEMS,
        creator_ids=ITEMS,
        creator_languages=("en",) * len(ITEMS),
        topics=((),) * len(ITEMS),
        published_at=np.full(len(ITEMS), np.datetime64("NaT"), dtype="datetime64[s]"),
    )
    interactions = pd.DataFrame(
        {
            "user_id": pd.Series([row[0] for row in rows], dtype=str),
            "item_id": pd.Series([row[1] for row in rows], dtype=str),
            "timestamp": pd.to_datetime([row[2] for row in rows], unit="s", utc=True),
        }
    ).sort_values("timestamp", kind="stable", ignore_index=True)
    return Dataset(Path("unused"), catalogue, interactions, pd.DataFrame())


def test_last_is_test_and_second_last_is_validation() -> None:
    split = leave_last_out(
        dataset_of(
            [("b", "i1", 3), ("a", "i2", 1), ("b", "i3", 1), ("b", "i4", 2), ("b", "i5", 9), ("a", "i6", 2)]
        )
    )
    assert split.train.user_ids == ("a", "b")
    assert split.evaluated.tolist() == [1]
    assert [ITEMS[item] for item in split.train.of(1)] == ["i3", "i4"]
    assert [ITEMS[item] for item in split.history.of(1)] == ["i3", "i4", "i1"]
    assert ITEMS[split.validation[0]] == "i1"
    assert ITEMS[split.test[0]] == "i5"
    # Two interactions are too few to hold anything out.
    assert [ITEMS[item] for item in split.train.of(0)] == ["i2", "i6"]
    assert [ITEMS[item] for item in split.history.of(0)] == ["i2", "i6"]


def test_ties_in_time_keep_the_order_of_the_file() -> None:
    split = leave_last_out(dataset_of([("a", item, 5) for item in ("i7", "i3", "i8", "i0")]))
    assert [ITEMS[item] for item in split.history.of(0)] == ["i7", "i3", "i8"]
    assert ITEMS[split.test[0]] == "i0"


rows = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(ITEMS), st.integers(0, 5)), min_size=1
)


@given(rows)
def test_nothing_is_lost_and_nothing_leaks(rows: list[tuple[str, str, int]]) -> None:
    dataset = dataset_of(rows)
    split, everything = leave_last_out(dataset), user_sequences(dataset)
    evaluated = set(split.evaluated.tolist())
    for user in range(len(everything)):
        whole = everything.of(user).tolist()
        if user in evaluated:
            position = split.evaluated.tolist().index(user)
            held_out = [split.validation[position], split.test[position]]
            assert [*split.train.of(user), *held_out] == whole
            assert [*split.history.of(user), held_out[1]] == whole
        else:
            assert split.train.of(user).tolist() == split.history.of(user).tolist() == whole
    assert (np.diff(everything.timestamps)[np.diff(everything.users) == 0] >= 0).all()


def test_matrix_is_binary() -> None:
    matrix = user_sequences(dataset_of([("a", "i1", 1), ("a", "i1", 2), ("b", "i2", 3)])).matrix(len(ITEMS))
    assert matrix.toarray()[:, 1:3].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert matrix.nnz == 2


def test_users_come_sorted() -> None:
    sequences = user_sequences(dataset_of([("10", "i1", 1), ("9", "i1", 2)]))
    assert sequences.user_ids == ("10", "9")
    assert sequences.lengths.tolist() == [1, 1]
    with pytest.raises(IndexError):
        sequences.of(2)


REPEATS = [(user, ("i1", "i2")[second % 2], second) for user in ("a", "b") for second in range(12)]


@pytest.mark.parametrize("on", ["validation", "test"])
def test_who_only_repeats_items_is_told_so_and_not_that_there_are_too_few_interactions(on) -> None:
    with pytest.raises(InvalidInputError, match=rf"each of the 2 users .* held out for {on} before"):
        evaluable(leave_last_out(dataset_of(REPEATS)), on)


def test_too_few_interactions_are_counted() -> None:
    with pytest.raises(InvalidInputError, match="none of the 2 users has 3 positive interactions"):
        evaluable(leave_last_out(dataset_of([("a", "i1", 1), ("b", "i1", 1), ("b", "i2", 2)])), "test")


def test_a_user_whose_held_out_item_is_new_is_evaluable() -> None:
    rows = [*REPEATS, *(("c", item, second) for second, item in enumerate(("i1", "i2", "i3", "i4")))]
    assert evaluable(leave_last_out(dataset_of(rows)), "test").tolist() == [False, False, True]
