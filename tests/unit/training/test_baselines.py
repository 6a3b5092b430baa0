from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from streamrec.contracts.errors import InvalidInputError
from streamrec.training.baselines import BASELINES, EASE, ItemKNN, Markov, Popularity, history_matrix
from streamrec.training.splits import UserHistories


def sequences(rows: list[list[int]]) -> UserHistories:
    lengths = [len(row) for row in rows]
    items = np.array([item for row in rows for item in row], dtype=np.int32)
    return UserHistories(
        user_ids=tuple(f"u{number:03}" for number in range(len(rows))),
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        items=items,
        timestamps=np.arange(len(items)),
    )


def random_sequences(users: int, items: int, seed: int) -> UserHistories:
    """Popular items more often, and a few items that nobody touched."""
    rng = np.random.default_rng(seed)
    shares = 1.0 / np.arange(1, items - 2)
    shares /= shares.sum()
    return sequences(
        [
            rng.choice(items - 3, size=int(rng.integers(2, 9)), replace=False, p=shares).tolist()
            for _ in range(users)
        ]
    )


def scores_of(
    model: Popularity | ItemKNN | EASE | Markov, train: UserHistories, items: int
) -> NDArray[np.float32]:
    users = np.arange(len(train), dtype=np.int32)
    last = train.items[train.offsets[1:] - 1]
    return model.scores(history_matrix(users, train, items), last)


def test_popularity_counts_and_ties_go_to_the_lower_row() -> None:
    train = sequences([[3, 1], [3, 2], [1, 3, 2]])
    lists = Popularity.fit(train, 5).top_items(np.array([0], dtype=np.int32), sequences([[]]), 5)
    assert lists.tolist() == [[3, 1, 2, 0, 4]]


def test_item_knn_equals_a_plain_second_implementation() -> None:
    items = 15
    train = random_sequences(30, items, seed=1)
    X = train.matrix(items).toarray().astype(np.float64)
    similarity = np.zeros((items, items))
    for i in range(items):
        for j in range(items):
            if i != j:
                norm = np.sqrt(X[:, i].sum() * X[:, j].sum()) + 2.0
                similarity[i, j] = (X[:, i] * X[:, j]).sum() / norm
        smallest = np.sort(similarity[i])[-4]
        similarity[i, similarity[i] < smallest] = 0.0
    expected = np.array([[(X[u] * similarity[j]).sum() for j in range(items)] for u in range(len(X))])
    model = ItemKNN.fit(train, items, neighbour_count=4, shrinkage=2.0)
    np.testing.assert_allclose(scores_of(model, train, items), expected, rtol=1e-5)


@pytest.mark.parametrize("users", [8, 60])
def test_ease_equals_the_closed_form_from_either_side(users: int) -> None:
    items = 20
    train = random_sequences(users, items, seed=2)
    X = train.matrix(items).toarray().astype(np.float64)
    P = np.linalg.inv(X.T @ X + 3.0 * np.eye(items))
    B = np.eye(items) - P / np.diag(P)
    assert np.abs(np.diag(B)).max() < 1e-9
    model = EASE.fit(train, items, l2=3.0)
    assert model.dual == (users <= np.count_nonzero(X.sum(axis=0)))
    touched = X.sum(axis=0) > 0
    scores = scores_of(model, train, items)
    np.testing.assert_allclose(scores[:, touched], (X @ B)[:, touched], atol=1e-4)
    # Items that nobody touched come after all others.
    assert scores[:, ~touched].max() < scores[:, touched].min()


def test_ease_keeps_to_its_bound() -> None:
    items = 20
    train = random_sequences(60, items, seed=2)
    scores = scores_of(EASE.fit(train, items, l2=3.0, maximum_size=6), train, items)
    counts = np.bincount(train.items, minlength=items)
    popular = np.sort(np.argsort(-counts, kind="stable")[:6])
    X = train.matrix(items).toarray()[:, popular].astype(np.float64)
    P = np.linalg.inv(X.T @ X + 3.0 * np.eye(6))
    np.testing.assert_allclose(scores[:, popular], X @ (np.eye(6) - P / np.diag(P)), atol=1e-4)
    rest = np.setdiff1d(np.arange(items), popular)
    assert scores[:, rest].max() < scores[:, popular].min()
    assert np.array_equal(
        np.argsort(-scores[0, rest], kind="stable"), np.argsort(-counts[rest], kind="stable")
    )


def test_markov_by_hand() -> None:
    # After 0: twice 1, once 2. Popularity: items 0, 1, 2 three, three and two times of nine, item 3 once.
    train = sequences([[0, 1], [0, 1, 3], [0, 2, 2, 1]])
    model = Markov.fit(train, 4, prior_count=9.0)
    scores = model.scores(
        history_matrix(np.array([0], np.int32), sequences([[0]]), 4), np.array([0], np.int32)
    )
    expected = np.array([0 + 3, 2 + 3, 1 + 2, 0 + 1]) / (3 + 9)
    np.testing.assert_allclose(scores[0], expected, rtol=1e-6)
    assert scores[0].sum() == pytest.approx(1.0)
    # The step from one user's last item to the next user's first is no transition.
    assert model.transitions[1].toarray().tolist() == [[0, 0, 0, 1]]


def test_markov_falls_back_to_popularity() -> None:
    train = sequences([[0, 1], [0, 1, 3], [0, 2, 2, 1]])
    model = Markov.fit(train, 4)
    histories = sequences([[], [3]])
    lists = model.top_items(np.array([0, 1], dtype=np.int32), histories, 4)
    # Nothing ever followed item 3.
    assert lists.tolist() == [[0, 1, 2, 3], [0, 1, 2, -1]]


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_every_baseline_filters_what_was_seen_and_returns_the_rest(name: str) -> None:
    items = 25
    train = random_sequences(40, items, seed=3)
    histories = sequences([[], [0, 0, 4, 0], list(range(items)), list(range(items - 1))])
    lists = BASELINES[name](train, items).top_items(np.arange(4, dtype=np.int32), histories, 500)
    assert lists.shape == (4, items)
    for user in range(4):
        returned = lists[user][lists[user] >= 0].tolist()
        assert sorted(returned) == sorted(set(range(items)) - set(histories.of(user).tolist()))
        assert (lists[user][len(returned) :] == -1).all()


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_lists_do_not_depend_on_the_batch(name: str) -> None:
    items = 25
    train = random_sequences(40, items, seed=4)
    model = BASELINES[name](train, items)
    together = model.top_items(np.arange(40, dtype=np.int32), train, 10)
    alone = [model.top_items(np.array([user], dtype=np.int32), train, 10)[0] for user in range(40)]
    assert np.array_equal(together, alone)


def test_fitting_does_not_change_the_sequences() -> None:
    train = random_sequences(40, 25, seed=5)
    before = train.items.copy()
    for fit in BASELINES.values():
        fit(train, 25)
    assert np.array_equal(train.items, before)


def test_meaningless_settings_are_refused() -> None:
    train = random_sequences(5, 25, seed=6)
    with pytest.raises(InvalidInputError, match="l2"):
        EASE.fit(train, 25, l2=0.0)
    with pytest.raises(InvalidInputError, match="prior_count"):
        Markov.fit(train, 25, prior_count=0.0)
