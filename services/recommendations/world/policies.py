"""What decides which items users of the simulated world are shown. Policies see observables only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from services.recommendations.world.catalogue import WorldCatalogue
from services.recommendations.world.labels import LANGUAGES, TOPICS
from services.recommendations.world.seen_filter import SeenFilter
from services.recommendations.world.users import UserTable


@dataclass(frozen=True)
class Observation:
    """One page asked for by each of n users, as a recommender sees it.

    Attributes:
        now_seconds: Seconds since 1970, UTC.
        users: Shape (n,), int64: rows of ``table``, distinct.
        table: Ids and segments of all users.
        histories: Shape (n, w), int32: items consumed, oldest first, -1 pads on the right.
        lengths: Shape (n,), int64: items in each history.
        shown: Shape (n, s), int32: items already shown in the running session; -1 pads.
        published: Shape (items,), bool: whether each item is out. Showing another is an error.
        seen: Answers for any item whether a user has consumed it.
    """

    now_seconds: int
    users: NDArray[np.int64]
    table: UserTable
    histories: NDArray[np.int32]
    lengths: NDArray[np.int64]
    shown: NDArray[np.int32]
    published: NDArray[np.bool_]
    seen: SeenFilter


@dataclass(frozen=True)
class DayLog:
    """What was consumed during one day: one row per interaction.

    Attributes:
        end_seconds: Seconds since 1970 at the end of the day, UTC.
        users: Shape (n,), int64.
        items: Shape (n,), int32.
    """

    end_seconds: int
    users: NDArray[np.int64]
    items: NDArray[np.int32]


class Policy(Protocol):
    """Chooses pages; anything from a baseline to the whole pipeline can stand behind it."""

    def recommend(self, observation: Observation, count: int, rng: np.random.Generator) -> NDArray[np.int32]:
        """Choose ``count`` items for every user of ``observation``.

        Returns:
            Shape (n, count), item rows, first position first, no item twice in a row; -1 pads.
        """
        ...

    def end_of_day(self, day: DayLog) -> None:
        """Take note of a day; a policy that does not learn ignores it."""
        ...


class PopularityThenRelevance:
    """StreamRec's old policy: most popular until five interactions, then relevance order, no diversity.

    Relevance is popularity in the user's languages and topics: candidates are the most popular and newest
    items of the two languages and four topics that weigh most in the last thirty items of the history, and
    of the creator of the last one, scored by a weighted sum of logarithms: popularity, share of the language,
    of the main and of the second topic in the history. Popularity is a count that forgets a fifth a day;
    items younger than a few days get a head start.

    Args:
        catalogue: The items.
        counts: Shape (items,): interactions of each item so far.
        now_seconds: When ``counts`` was taken, seconds since 1970.
    """

    MINIMUM_HISTORY: Final = 5
    _DAILY_RETENTION: Final = 0.8
    _DEPTH: Final = 30
    _RECENCY: Final = 0.95
    _LANGUAGES: Final = 2
    _TOPICS: Final = 4
    _CELL_POOL: Final = 32
    _CREATOR_POOL: Final = 12
    _SAME_CREATOR_BONUS: Final = 1.0
    _POPULARITY_WEIGHT: Final = 0.6
    _SECOND_TOPIC_WEIGHT: Final = 0.5
    _SMOOTHING: Final = 0.02
    _HEAD_START_DAYS: Final = 3.0

    def __init__(self, catalogue: WorldCatalogue, counts: NDArray[np.float64], now_seconds: int) -> None:
        self._catalogue = catalogue
        self._counts = counts.astype(np.float64)
        self._rebuild(now_seconds)

    @classmethod
    def after_log(
        cls,
        catalogue: WorldCatalogue,
        items: NDArray[np.int32],
        seconds: NDArray[np.int64],
        now_seconds: int,
    ) -> Self:
        """The policy as it stands at ``now_seconds`` after logged interactions, one row each.

        Args:
            catalogue: The items.
            items: Shape (n,), item rows.
            seconds: Shape (n,): when, seconds since 1970.
            now_seconds: Not before any of them.
        """
        age_days = (now_seconds - 1 - seconds) // 86_400
        weights = cls._DAILY_RETENTION**age_days
        counts = np.bincount(items, weights, minlength=len(catalogue)).astype(np.float64)
        return cls(catalogue, counts, now_seconds)

    def end_of_day(self, day: DayLog) -> None:
        """Update popularity and candidate pools."""
        self._counts *= self._DAILY_RETENTION
        self._counts += np.bincount(day.items, minlength=len(self._catalogue))
        self._rebuild(day.end_seconds)

    def recommend(self, observation: Observation, count: int, rng: np.random.Generator) -> NDArray[np.int32]:
        """Choose pages; ``rng`` is not used, the old policy does not explore."""
        del rng
        slate = np.full((len(observation.users), count), -1, dtype=np.int32)
        is_new = observation.lengths < self.MINIMUM_HISTORY
        new, known = np.flatnonzero(is_new), np.flatnonzero(~is_new)
        if len(new):
            slate[new] = self._most_popular(observation, new, count)
        if len(known):
            slate[known] = self._relevant(observation, known, count)
        return slate

    def _most_popular(
        self, observation: Observation, rows: NDArray[np.int64], count: int
    ) -> NDArray[np.int32]:
        needed = count + self.MINIMUM_HISTORY + observation.shown.shape[1]
        candidates = np.broadcast_to(self._popular[:needed], (len(rows), min(needed, len(self._popular))))
        scores = np.broadcast_to(-np.arange(candidates.shape[1], dtype=np.float32), candidates.shape)
        return _best(observation, rows, candidates, scores.copy(), count)

    def _relevant(self, observation: Observation, rows: NDArray[np.int64], count: int) -> NDArray[np.int32]:
        catalogue = self._catalogue
        languages, topics, last = self._profiles(observation, rows)
        top_languages = np.argsort(-languages, axis=1, kind="stable")[:, : self._LANGUAGES]
        top_topics = np.argsort(-topics, axis=1, kind="stable")[:, : self._TOPICS]
        language_scores = np.log(languages + self._SMOOTHING)
        topic_scores = np.log(topics + self._SMOOTHING)
        # The last column is for items without a second topic: neither a match nor a mismatch.
        second_scores = np.column_stack([topic_scores, topic_scores.mean(axis=1)])
        last_creator = catalogue.creators[last]

        cells = top_languages[:, :, None] * len(TOPICS) + top_topics[:, None, :]
        cells = cells.reshape(len(rows), -1)
        cell_scores = (
            np.take_along_axis(language_scores, top_languages, axis=1)[:, :, None]
            + np.take_along_axis(topic_scores, top_topics, axis=1)[:, None, :]
        ).reshape(len(rows), -1)
        from_cells = self._cell_pool[cells]
        scores = self._cell_pool_scores[cells] + cell_scores[:, :, None]
        own = np.arange(len(rows))[:, None]
        second = second_scores[own[:, :, None], self._cell_pool_second_topics[cells]]
        scores += self._SECOND_TOPIC_WEIGHT * second
        scores += self._SAME_CREATOR_BONUS * (self._cell_pool_creators[cells] == last_creator[:, None, None])

        from_creator = self._creator_pool[last_creator]
        items = np.maximum(from_creator, 0)
        creator_scores = (
            self._trend[items]
            + language_scores[own, catalogue.languages[items]]
            + topic_scores[own, catalogue.topics[items, 0]]
            + self._SECOND_TOPIC_WEIGHT * second_scores[own, catalogue.topics[items, 1]]
            + self._SAME_CREATOR_BONUS
        )
        twice = self._in_cell_pool[items] & (catalogue.cells[items][:, :, None] == cells[:, None, :]).any(
            axis=2
        )
        candidates = np.concatenate(
            [from_cells.reshape(len(rows), -1), np.where(twice, -1, from_creator)], axis=1
        )
        scores = np.concatenate([scores.reshape(len(rows), -1), creator_scores], axis=1)
        return _best(observation, rows, candidates, scores, count)

    def _profiles(
        self, observation: Observation, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
        """Language shares (n, languages), topic shares (n, topics) and last item (n,) of each user."""
        back = np.arange(self._DEPTH)
        positions = observation.lengths[rows, None] - 1 - back
        items = observation.histories[rows[:, None], np.maximum(positions, 0)]
        weights = np.where(positions >= 0, self._RECENCY**back, 0.0)
        weights /= weights.sum(axis=1, keepdims=True)
        row = np.arange(len(rows))[:, None]

        def share(codes: NDArray[np.int32], size: int) -> NDArray[np.float32]:
            flat = np.bincount((row * size + codes).ravel(), weights.ravel(), minlength=len(rows) * size)
            return flat.reshape(len(rows), size).astype(np.float32)

        catalogue = self._catalogue
        return (
            share(catalogue.languages[items], len(LANGUAGES)),
            share(catalogue.topics[items, 0], len(TOPICS)),
            items[:, 0],
        )

    def _rebuild(self, now_seconds: int) -> None:
        catalogue = self._catalogue
        published = np.flatnonzero(catalogue.published(now_seconds))
        age_days = (now_seconds - catalogue.published_at) / 86_400
        typical = self._counts[published].mean() if len(published) else 0.0
        head_start = 3.0 * typical * np.exp(-np.maximum(age_days, 0.0) / self._HEAD_START_DAYS)
        trend = self._POPULARITY_WEIGHT * np.log1p(self._counts + head_start)
        self._trend = trend.astype(np.float32)
        by_trend = published[np.argsort(-self._trend[published], kind="stable")].astype(np.int32)
        self._popular = by_trend
        self._cell_pool = _pools(by_trend, catalogue.cells, len(LANGUAGES) * len(TOPICS), self._CELL_POOL)
        known = np.maximum(self._cell_pool, 0)
        self._cell_pool_scores = self._trend[known]
        self._cell_pool_second_topics = catalogue.topics[known, 1]
        self._cell_pool_creators = catalogue.creators[known]
        self._in_cell_pool = np.zeros(len(catalogue), dtype=np.bool_)
        self._in_cell_pool[self._cell_pool[self._cell_pool >= 0]] = True
        self._creator_pool = _pools(
            by_trend, catalogue.creators, len(catalogue.creator_languages), self._CREATOR_POOL
        )


def _pools(
    items: NDArray[np.int32], group_of: NDArray[np.int32], groups: int, size: int
) -> NDArray[np.int32]:
    """Shape (groups, size): the first ``size`` of ``items`` in each group, in their order; -1 pads."""
    order = np.argsort(group_of[items], kind="stable")
    grouped = items[order]
    group = group_of[grouped]
    rank = np.arange(len(grouped)) - np.searchsorted(group, group, side="left")
    kept = rank < size
    pools = np.full((groups, size), -1, dtype=np.int32)
    pools[group[kept], rank[kept]] = grouped[kept]
    return pools


def _best(
    observation: Observation,
    rows: NDArray[np.int64],
    candidates: NDArray[np.int32],
    scores: NDArray[np.float32],
    count: int,
) -> NDArray[np.int32]:
    """Shape (n, count): best candidates that are neither consumed nor already shown; changes ``scores``."""
    blocked = (candidates < 0) | observation.seen.contains(observation.users[rows], candidates)
    for column in range(observation.shown.shape[1]):
        blocked |= candidates == observation.shown[rows, column, None]
    scores[blocked] = -np.inf
    count_here = min(count, scores.shape[1])
    top = np.argpartition(-scores, count_here - 1, axis=1)[:, :count_here]
    top.sort(axis=1)
    order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
    top = np.take_along_axis(top, order, axis=1)
    slate = np.full((len(rows), count), -1, dtype=np.int32)
    best = np.take_along_axis(candidates, top, axis=1)
    slate[:, :count_here] = np.where(np.isneginf(np.take_along_axis(scores, top, axis=1)), -1, best)
    return slate
