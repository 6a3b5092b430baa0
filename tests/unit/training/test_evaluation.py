from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from streamrec.contracts.errors import InvalidInputError
from streamrec.datasets.catalogue import Catalogue
from streamrec.training.evaluation import (
    METRICS,
    MINIMUM_GROUP_COUNT,
    ModelEvaluation,
    evaluate,
    evaluation_report,
    paired_difference,
)
from streamrec.training.splits import Split, UserHistories

ITEM_COUNT = 700
USER_COUNT = 60


def sequences(rows: list[list[int]]) -> UserHistories:
    lengths = [len(row) for row in rows]
    items = np.array([item for row in rows for item in row], dtype=np.int32)
    return UserHistories(
        user_ids=tuple(f"u{number:03}" for number in range(len(rows))),
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        items=items,
        timestamps=np.arange(len(items)),
    )


def a_split(seed: int = 0) -> Split:
    rng = np.random.default_rng(seed)
    rows = [
        rng.choice(ITEM_COUNT, size=int(rng.integers(3, 40)), replace=False).tolist()
        for _ in range(USER_COUNT)
    ]
    names = tuple(f"i{number:03}" for number in range(ITEM_COUNT))
    catalogue = Catalogue(
        item_ids=names,
        titles=names,
        creator_ids=names,
        creator_languages=tuple("en" if number % 4 else "fr" for number in range(ITEM_COUNT)),
        topics=((),) * ITEM_COUNT,
        published_at=np.full(ITEM_COUNT, np.datetime64("NaT"), dtype="datetime64[s]"),
    )
    return Split(
        catalogue=catalogue,
        train=sequences([row[:-2] for row in rows]),
        history=sequences([row[:-1] for row in rows]),
        evaluated=np.arange(USER_COUNT, dtype=np.int32),
        validation=np.array([row[-2] for row in rows], dtype=np.int32),
        test=np.array([row[-1] for row in rows], dtype=np.int32),
    )


class RandomOrder:
    """Ranks the unseen items of each user in an order of the user's own, with the target moved up."""

    def __init__(self, salt: int, split: Split, lift: float = 0.0) -> None:
        self.salt = salt
        self.target = dict(zip(split.evaluated.tolist(), split.test.tolist(), strict=True))
        self.lift = lift

    def order(self, user: int, seen: set[int]) -> list[int]:
        rng = np.random.default_rng([self.salt, user])
        order = [item for item in rng.permutation(ITEM_COUNT).tolist() if item not in seen]
        if rng.random() < self.lift:
            order.remove(self.target[user])
            order.insert(int(rng.integers(12)), self.target[user])
        return order

    def top_items(self, users: NDArray[np.int32], histories: UserHistories, count: int) -> NDArray[np.int32]:
        return np.array(
            [self.order(user, set(histories.of(user).tolist()))[:count] for user in users.tolist()],
            dtype=np.int32,
        )


def test_metrics_equal_a_plain_second_implementation() -> None:
    split = a_split()
    model = RandomOrder(1, split, lift=0.6)
    result = evaluate(model, split, seed=3)
    hits, gains, recalls = [], [], []
    for user, target in zip(split.evaluated.tolist(), split.test.tolist(), strict=True):
        position = model.order(user, set(split.history.of(user).tolist())).index(target)
        hits.append(1.0 if position < 10 else 0.0)
        gains.append(1.0 / math.log2(position + 2) if position < 10 else 0.0)
        recalls.append(1.0 if position < 500 else 0.0)
    assert 0 < sum(hits) < len(hits)
    assert result.metrics["hit@10"].value == pytest.approx(sum(hits) / len(hits))
    assert result.metrics["ndcg@10"].value == pytest.approx(sum(gains) / len(gains))
    assert result.metrics["recall@500"].value == pytest.approx(sum(recalls) / len(recalls))
    for metric in METRICS:
        interval = result.metrics[metric]
        assert interval.low < interval.value < interval.high
        assert interval.n == USER_COUNT


class Recorder:
    """Returns nothing and remembers the histories it was shown."""

    def top_items(self, users: NDArray[np.int32], histories: UserHistories, count: int) -> NDArray[np.int32]:
        self.seen = {user: histories.of(user).tolist() for user in users.tolist()}
        return np.full((len(users), count), -1, dtype=np.int32)


def test_under_test_the_validation_item_is_history_and_under_validation_it_is_not() -> None:
    split, model = a_split(), Recorder()
    evaluate(model, split, seed=0, on="test")
    assert all(model.seen[user][-1] == split.validation[user] for user in range(USER_COUNT))
    result = evaluate(model, split, seed=0, on="validation")
    assert all(model.seen[user] == split.train.of(user).tolist() for user in range(USER_COUNT))
    assert result.metrics["recall@500"].value == 0.0


def test_groups_partition_the_users_and_small_ones_have_no_metrics() -> None:
    split = a_split()
    result = evaluate(RandomOrder(1, split, lift=0.5), split, seed=0)
    for groups in (result.by_creator_language, result.by_history_length):
        assert sum(group.count for group in groups) == USER_COUNT
        for group in groups:
            assert (group.metrics is None) == (group.count < MINIMUM_GROUP_COUNT)
    languages = {group.group: group for group in result.by_creator_language}
    french = np.flatnonzero(split.test % 4 == 0)
    assert languages["fr"].count == french.size
    assert languages["en"].metrics is not None
    english = np.setdiff1d(np.arange(USER_COUNT), french)
    assert languages["en"].metrics["hit@10"].value == pytest.approx(result.per_user("hit@10")[english].mean())
    lengths = split.history.lengths
    buckets = {group.group: group.count for group in result.by_history_length}
    assert buckets["10-19"] == int(((lengths >= 10) & (lengths <= 19)).sum())


def test_the_report_is_plain_json_with_the_agreed_keys() -> None:
    split = a_split()
    report = evaluation_report({"popularity": evaluate(RandomOrder(1, split), split, seed=0)})
    again = json.loads(json.dumps(report, allow_nan=False))
    assert set(again["models"]["popularity"]) == {"hit@10", "ndcg@10", "recall@500"}
    assert set(again["models"]["popularity"]["recall@500"]) == {
        "value",
        "low",
        "high",
        "level",
        "method",
        "n",
    }
    small = again["breakdowns"]["creator_language"]["popularity"]["fr"]
    assert small == {"count": small["count"], "metrics": None}
    assert again["protocol"]["users"] == {"popularity": USER_COUNT}


def test_the_paired_difference_is_narrower_than_unpaired_and_has_the_right_sign() -> None:
    split = a_split()
    worse = evaluate(RandomOrder(1, split, lift=0.5), split, seed=0)
    # The same lists, with six users' targets pushed out of them.
    ranks = worse.ranks.copy()
    ranks[np.flatnonzero((ranks >= 0) & (ranks < 10))[:6]] = -1
    pushed = replace(worse, ranks=ranks)
    difference = paired_difference(worse, pushed, "hit@10", seed=5)
    assert difference.value == pytest.approx(6 / USER_COUNT)
    assert difference.low > 0.0
    own = worse.metrics["hit@10"]
    assert difference.high - difference.low < own.high - own.low
    reverse = paired_difference(pushed, worse, "hit@10", seed=5)
    assert reverse.value == pytest.approx(-difference.value)
    assert paired_difference(worse, worse, "ndcg@10", seed=5).high == 0.0


def test_a_difference_over_other_users_is_refused() -> None:
    split = a_split()
    everyone = evaluate(RandomOrder(1, split), split, seed=0)
    some = evaluate(RandomOrder(1, split), split, seed=0, max_users=20)
    with pytest.raises(InvalidInputError, match="same users"):
        paired_difference(everyone, some, "hit@10", seed=0)
    with pytest.raises(InvalidInputError, match="hit@11"):
        paired_difference(everyone, everyone, "hit@11", seed=0)


def test_a_sample_of_users_is_the_same_for_every_model() -> None:
    split = a_split()
    first: ModelEvaluation = evaluate(RandomOrder(1, split), split, seed=4, max_users=25)
    second = evaluate(RandomOrder(2, split), split, seed=4, max_users=25)
    assert len(first.users) == 25
    assert first.users.tolist() == second.users.tolist()
    assert first.users.tolist() != evaluate(RandomOrder(1, split), split, seed=5, max_users=25).users.tolist()


def test_a_held_out_item_seen_before_is_counted_and_left_out() -> None:
    split = a_split()
    test = split.test.copy()
    test[7] = split.history.of(7)[0]
    result = evaluate(Recorder(), replace(split, test=test), seed=0)
    assert result.repeated_count == 1
    assert 7 not in result.users.tolist()


@pytest.mark.parametrize(
    ("fault", "words"), [("seen", "has seen"), ("twice", "twice"), ("outside", "outside the catalogue")]
)
def test_a_model_that_breaks_the_protocol_is_an_error(fault: str, words: str) -> None:
    split = a_split()

    class Faulty(RandomOrder):
        def top_items(
            self, users: NDArray[np.int32], histories: UserHistories, count: int
        ) -> NDArray[np.int32]:
            lists = super().top_items(users, histories, count)
            lists[3, 5] = {
                "seen": histories.of(int(users[3]))[0],
                "twice": lists[3, 4],
                "outside": ITEM_COUNT,
            }[fault]
            return lists

    with pytest.raises(ValueError, match=words):
        evaluate(Faulty(1, split), split, seed=0)


def test_nobody_to_evaluate_is_an_error() -> None:
    split = a_split()
    nobody = replace(
        split,
        evaluated=np.empty(0, dtype=np.int32),
        test=np.empty(0, dtype=np.int32),
        validation=np.empty(0, dtype=np.int32),
    )
    with pytest.raises(InvalidInputError, match="none of the 60 users"):
        evaluate(Recorder(), nobody, seed=0)


def test_figures_are_broken_down_by_user_attributes():
    split = a_split()
    countries = ["fi" if user < 35 else "es" for user in range(USER_COUNT)]
    model = RandomOrder(1, split, lift=0.5)
    result = evaluate(
        model, split, seed=0, user_attributes={"country": countries, "language": ["en"] * USER_COUNT}
    )
    finland, spain = result.by_user_attribute["country"]
    assert (finland.group, finland.count, spain.group, spain.count) == ("fi", 35, "es", 25)
    own = result.per_user("ndcg@10")[:35].mean()
    assert finland.metrics["ndcg@10"].value == pytest.approx(own)
    assert spain.metrics is None  # fewer than MINIMUM_GROUP_COUNT
    assert result.by_user_attribute["language"][0].metrics == result.metrics
    assert "country" not in evaluation_report({"m": result})["breakdowns"]
    with pytest.raises(InvalidInputError, match="country"):
        evaluate(model, split, seed=0, user_attributes={"country": ["fi"]})
