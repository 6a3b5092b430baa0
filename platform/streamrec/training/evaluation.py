"""The one protocol every ranking figure comes from: leave-last-out, full ranking, seen items filtered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.intervals import Interval
from streamrec.stats.intervals import bootstrap_mean
from streamrec.training.ranking_metrics import LIST_LENGTH, hit_at, ndcg_at, rank_of
from streamrec.training.splits import HeldOut, Split, UserHistories, evaluable

METRICS: Final = ("hit@10", "ndcg@10", "recall@500")
"""Names of the reported metrics, as they stand in the JSON report."""

MINIMUM_GROUP_COUNT: Final = 30
"""Users below which a group's metrics are not reported: an interval of so few says nothing."""

HISTORY_LENGTH_BUCKETS: Final = ((0, 4), (5, 9), (10, 19), (20, 49), (50, 99), (100, 199), (200, None))
"""First and last number of past interactions of each bucket of the breakdown."""

_BATCH_VALUES: Final = 32_000_000
"""Flags of users x items held in memory at once (32 MB)."""
_MAXIMUM_BATCH: Final = 1024


class CatalogueRanker(Protocol):
    """Anything that can be evaluated: a baseline, a stage, or the whole pipeline."""

    def top_items(self, users: NDArray[np.int32], histories: UserHistories, count: int) -> NDArray[np.int32]:
        """Rank the whole catalogue for some users.

        Args:
            users: Shape (b,), rows into ``histories``.
            histories: What each user has done so far; items in there are seen and must not be returned.
            count: Length of the lists.

        Returns:
            Shape (b, min(count, items)), catalogue rows, best first; -1 pads a short list.
        """
        ...


@dataclass(frozen=True)
class GroupEvaluation:
    """Metrics of one group of users.

    Attributes:
        group: Its name: a creator language, a bucket of history length such as ``20-49``, or the value of a
            user's attribute.
        count: Users in it.
        metrics: Interval by metric, or None where the group has fewer than `MINIMUM_GROUP_COUNT` users.
    """

    group: str
    count: int
    metrics: Mapping[str, Interval] | None


@dataclass(frozen=True)
class ModelEvaluation:
    """How well one model finds the held-out items.

    Attributes:
        on: Which of each user's items was held out.
        users: Shape (u,), int32: rows of the users measured, increasing.
        ranks: Shape (u,), int32: position of the held-out item in the user's list of `LIST_LENGTH` unseen
            items, -1 where it is not in the list.
        repeated_count: Users left out because their held-out item is one they had seen before: with seen
            items filtered no model can return it.
        metrics: Interval by metric.
        by_creator_language: Groups by the creator language of the held-out item, largest first.
        by_history_length: Groups by the number of past interactions, shortest first.
        by_user_attribute: Groups by the value of each user attribute that was asked for, largest first.
    """

    on: HeldOut
    users: NDArray[np.int32]
    ranks: NDArray[np.int32]
    repeated_count: int
    metrics: Mapping[str, Interval]
    by_creator_language: tuple[GroupEvaluation, ...]
    by_history_length: tuple[GroupEvaluation, ...]
    by_user_attribute: Mapping[str, tuple[GroupEvaluation, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )

    def per_user(self, metric: str) -> NDArray[np.float64]:
        """Shape (u,): the metric of each user. Raises `InvalidInputError` for an unknown metric."""
        return _per_user(self.ranks, metric)


def evaluate(
    model: CatalogueRanker,
    split: Split,
    *,
    seed: int,
    on: HeldOut = "test",
    max_users: int | None = None,
    resamples: int = 1000,
    user_attributes: Mapping[str, Sequence[str]] | None = None,
) -> ModelEvaluation:
    """Rank the whole catalogue for every evaluated user and measure where the held-out item stands.

    Under test a model sees train and validation items as history, under validation train items alone.

    Args:
        model: What to evaluate.
        split: The data; its ``evaluated`` users are measured.
        seed: Of the resamples and of the choice of users. The same seed gives every model the same users.
        on: Which held-out item.
        max_users: Measure a uniform sample of at most this many users; all where None.
        resamples: Bootstrap resamples of each interval.
        user_attributes: Values of attributes to break the figures down by, one for each user of the split.

    Raises:
        InvalidInputError: No user can be evaluated, ``max_users`` is less than 1, or an attribute does not
            have one value for each user.
        ValueError: The model returned an item twice, a seen item or a row outside the catalogue.
    """
    for name, values in (user_attributes or {}).items():
        if len(values) != len(split.history):
            raise InvalidInputError(
                f"user_attributes.{name}", f"{len(values)} values for {len(split.history)} users"
            )
    histories = split.history if on == "test" else split.train
    held_out = split.test if on == "test" else split.validation
    new = evaluable(split, on)
    users, targets = split.evaluated[new], held_out[new]
    if max_users is not None:
        if max_users < 1:
            raise InvalidInputError("max_users", "must be 1 or more")
        size = min(max_users, users.size)
        chosen = np.sort(np.random.default_rng(seed).choice(users.size, size=size, replace=False))
        users, targets = users[chosen], targets[chosen]
    ranks = _ranks(model, users, targets, histories, len(split.catalogue))
    languages = np.array(split.catalogue.languages)[split.catalogue.language_codes[targets]]
    return ModelEvaluation(
        on=on,
        users=users,
        ranks=ranks,
        repeated_count=int((~new).sum()),
        metrics=_intervals(ranks, seed, resamples),
        by_creator_language=_by_value(ranks, languages, seed, resamples),
        by_history_length=_by_history_length(ranks, histories.lengths[users], seed, resamples),
        by_user_attribute={
            name: _by_value(ranks, np.array(values, dtype=np.str_)[users], seed, resamples)
            for name, values in (user_attributes or {}).items()
        },
    )


def paired_difference(
    first: ModelEvaluation, second: ModelEvaluation, metric: str, *, seed: int, resamples: int = 2000
) -> Interval:
    """Mean of ``first`` minus ``second`` over the same users, with a paired bootstrap interval.

    Users are resampled with both models' values together (Efron and Tibshirani 1993, ch. 8), so what users
    have in common cancels: two models whose own intervals overlap may still differ for certain.

    Raises:
        InvalidInputError: The two were measured on different users or items, or the metric is unknown.
    """
    if first.on != second.on or not np.array_equal(first.users, second.users):
        raise InvalidInputError("second", "was not measured on the same users and held-out items as first")
    difference = first.per_user(metric) - second.per_user(metric)
    return bootstrap_mean(difference, rng=np.random.default_rng(seed), resamples=resamples)


def evaluation_report(evaluations: Mapping[str, ModelEvaluation]) -> dict[str, Any]:
    """Return the figures as plain JSON values, metrics under ``models`` and groups under ``breakdowns``."""
    return {
        "models": {name: _metrics_json(result.metrics) for name, result in evaluations.items()},
        "breakdowns": {
            "creator_language": {
                name: _groups_json(result.by_creator_language) for name, result in evaluations.items()
            },
            "history_length": {
                name: _groups_json(result.by_history_length) for name, result in evaluations.items()
            },
        },
        "protocol": {
            "split": "leave-last-out",
            "ranking": f"full catalogue, seen items filtered, lists of {LIST_LENGTH}",
            "interval": "95 % percentile bootstrap over users",
            "minimum_group_count": MINIMUM_GROUP_COUNT,
            "held_out": {name: result.on for name, result in evaluations.items()},
            "users": {name: len(result.users) for name, result in evaluations.items()},
            "repeated_held_out_items": {name: result.repeated_count for name, result in evaluations.items()},
        },
    }


def _ranks(
    model: CatalogueRanker,
    users: NDArray[np.int32],
    targets: NDArray[np.int32],
    histories: UserHistories,
    item_count: int,
) -> NDArray[np.int32]:
    ranks = np.empty(users.size, dtype=np.int32)
    batch = int(np.clip(_BATCH_VALUES // item_count, 1, _MAXIMUM_BATCH))
    for start in range(0, users.size, batch):
        stop = min(start + batch, users.size)
        lists = model.top_items(users[start:stop], histories, LIST_LENGTH)
        _check_lists(lists, users[start:stop], histories, item_count)
        ranks[start:stop] = rank_of(lists, targets[start:stop])
    return ranks


def _check_lists(
    lists: NDArray[np.int32], users: NDArray[np.int32], histories: UserHistories, item_count: int
) -> None:
    """A list with a seen or repeated item would make the figures of its model incomparable."""
    if lists.shape != (users.size, min(LIST_LENGTH, item_count)):
        raise ValueError(f"lists of shape {lists.shape} for {users.size} users")
    if lists.min(initial=-1) < -1 or lists.max(initial=-1) >= item_count:
        raise ValueError("the model returned a row outside the catalogue")
    taken = np.zeros((users.size, item_count), dtype=np.bool_)
    for position, user in enumerate(users):
        taken[position, histories.of(user)] = True
    if (np.take_along_axis(taken, np.maximum(lists, 0), axis=1) & (lists >= 0)).any():
        raise ValueError("the model returned an item that the user has seen")
    ordered = np.sort(lists, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        raise ValueError("the model returned an item twice in one list")


def _per_user(ranks: NDArray[np.int32], metric: str) -> NDArray[np.float64]:
    if metric == "hit@10":
        return hit_at(ranks, 10)
    if metric == "ndcg@10":
        return ndcg_at(ranks, 10)
    if metric == "recall@500":
        return hit_at(ranks, LIST_LENGTH)
    raise InvalidInputError("metric", f"{metric!r} is not one of {', '.join(METRICS)}")


def _intervals(ranks: NDArray[np.int32], seed: int, resamples: int) -> dict[str, Interval]:
    return {
        metric: bootstrap_mean(_per_user(ranks, metric), rng=np.random.default_rng(seed), resamples=resamples)
        for metric in METRICS
    }


def _group(group: str, ranks: NDArray[np.int32], seed: int, resamples: int) -> GroupEvaluation:
    metrics = _intervals(ranks, seed, resamples) if ranks.size >= MINIMUM_GROUP_COUNT else None
    return GroupEvaluation(group=group, count=int(ranks.size), metrics=metrics)


def _by_value(
    ranks: NDArray[np.int32], values: NDArray[np.str_], seed: int, resamples: int
) -> tuple[GroupEvaluation, ...]:
    groups = [_group(str(name), ranks[values == name], seed, resamples) for name in np.unique(values)]
    return tuple(sorted(groups, key=lambda group: (-group.count, group.group)))


def _by_history_length(
    ranks: NDArray[np.int32], lengths: NDArray[np.int64], seed: int, resamples: int
) -> tuple[GroupEvaluation, ...]:
    groups = []
    for first, last in HISTORY_LENGTH_BUCKETS:
        inside = lengths >= first
        if last is not None:
            inside &= lengths <= last
        name = f"{first}+" if last is None else f"{first}-{last}"
        if inside.any():
            groups.append(_group(name, ranks[inside], seed, resamples))
    return tuple(groups)


def _metrics_json(metrics: Mapping[str, Interval]) -> dict[str, dict[str, Any]]:
    return {name: interval.to_json() for name, interval in metrics.items()}


def _groups_json(groups: tuple[GroupEvaluation, ...]) -> dict[str, dict[str, Any]]:
    return {
        group.group: {
            "count": group.count,
            "metrics": None if group.metrics is None else _metrics_json(group.metrics),
        }
        for group in groups
    }
