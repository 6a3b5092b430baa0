"""The candidate features as the student serves them: the teacher's own, with the teacher's weights, in NumPy.

sum_k w_k f_k(u, i) over the features of `candidate_features.FEATURES` that a user changes. A sparse count of
what follows what is not of low rank, so no network of this size can learn it; reading it is cheap. What no
user changes is `static_scores`, and belongs into the biases.

The arithmetic is that of `CandidateTables.features`; a test holds the two equal. There is one difference: the
item-to-item tables are read for the newest ``table_length`` items of a history alone, as if it began there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.recommendations.contracts.candidates import Segment
from services.recommendations.ranking.candidate_features import FEATURES, CandidateTables
from streamrec.contracts.conventions import HISTORY_LIMIT

_LAST_HALF_LIFE: Final = 1.0
_LAST_LENGTH: Final = 20
"""Newest items that `transition_from_last` reads: what is older has a millionth of the weight."""
_RECENT_HALF_LIFE: Final = 10.0
_PRIOR: Final = 0.2
_SHARE_FLOOR: Final = 0.02
_ERA_YEARS: Final = 2.0
_DAYS_A_YEAR: Final = 365.25
_UNKNOWN_DAY: Final = np.iinfo(np.int32).min
_STATIC: Final = ("log_popularity", "log_age")

Array = NDArray[np.float32]


@dataclass(frozen=True)
class SparseRows:
    """A sparse matrix by rows.

    Attributes:
        starts: Shape (rows + 1,), int64: row r is ``columns[starts[r] : starts[r + 1]]`` with its values.
        columns: Shape (entries,), int32.
        values: Shape (entries,), float32.
        width: Number of columns.
    """

    starts: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: Array
    width: int

    @classmethod
    def of(cls, matrix: sparse.csr_matrix) -> Self:
        """The same matrix."""
        return cls(
            matrix.indptr.astype(np.int64),
            matrix.indices.astype(np.int32),
            matrix.data.astype(np.float32),
            matrix.shape[1],
        )

    def without_entries(self) -> Self:
        """As many rows and columns, all zero."""
        return replace(
            self, starts=np.zeros_like(self.starts), columns=self.columns[:0], values=self.values[:0]
        )

    def extended(self, rows: Self, width: int) -> Self:
        """These rows and ``rows`` below them, ``width`` columns wide."""
        return replace(
            self,
            starts=np.concatenate([self.starts, self.starts[-1] + rows.starts[1:]]),
            columns=np.concatenate([self.columns, rows.columns]),
            values=np.concatenate([self.values, rows.values]),
            width=width,
        )

    def gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], Array, NDArray[np.int64]]:
        """Columns and values of some rows, one after the other, and how many each row has."""
        starts = self.starts.take(rows)
        lengths = self.starts.take(rows + 1) - starts
        ends = lengths.cumsum()
        positions = np.arange(ends[-1] if ends.size else 0)
        positions += (starts - ends + lengths).repeat(lengths)
        return self.columns.take(positions), self.values.take(positions), lengths


@dataclass(frozen=True)
class FeatureTables:
    """Everything that the features of n items are computed from, and their weights.

    Attributes:
        weights: By name of the feature, of those that a user changes and that have a weight.
        transitions: Shape (n, n), and
        co_visitation: shape (n, n): see `CandidateTables`; without entries where no weight asks for them.
        topics: Shape (n, topics): see `CandidateTables`.
        popularity: Shape (n,), float32, positive.
        creators: Shape (n,), int32: creator by number, -1 where unknown.
        languages: Shape (n,), int32: position in ``language_names``, -1 where unknown.
        published_days: Shape (n,), int32: day of publication since 1970, the smallest int32 where unknown.
        language_names: Names of the languages.
        history_length: Newest items of a history that count.
        creator_names: Creators by number, and
        topic_names: topics by column; empty in an artifact of an earlier release.
    """

    weights: Mapping[str, float]
    transitions: SparseRows
    co_visitation: SparseRows
    topics: SparseRows
    popularity: Array
    creators: NDArray[np.int32]
    languages: NDArray[np.int32]
    published_days: NDArray[np.int32]
    language_names: tuple[str, ...]
    history_length: int
    creator_names: tuple[str, ...] = ()
    topic_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, tables: CandidateTables, weights: Mapping[str, float]) -> Self:
        """Take over the tables that the weights ask for.

        Args:
            tables: The teacher's.
            weights: By name of the feature.
        """
        used = {name: weight for name, weight in weights.items() if weight != 0.0 and name not in _STATIC}

        def rows(matrix: sparse.csr_matrix, *names: str) -> SparseRows:
            whole = SparseRows.of(matrix)
            return whole if used.keys() & set(names) else whole.without_entries()

        return cls(
            weights=used,
            transitions=rows(tables.transitions, "transition_from_last", "transition_from_recent"),
            co_visitation=rows(tables.co_visitation, "co_visitation", "co_visitation_recent"),
            # Kept whatever asks for them: what is known of a new item is known by its topics.
            topics=SparseRows.of(tables.topics),
            popularity=tables.popularity,
            creators=tables.creators,
            languages=tables.languages,
            published_days=tables.published_days,
            language_names=tables.language_names,
            history_length=min(tables.history_length, HISTORY_LIMIT),
            creator_names=tables.creator_names,
            topic_names=tables.topic_names,
        )


class FeatureScorer:
    """The weighted sum of the features. Holds no state between calls; safe to share between threads."""

    def __init__(self, tables: FeatureTables, table_length: int) -> None:
        """Prepare what is the same for every request.

        Args:
            tables: See `FeatureTables`.
            table_length: Newest items of a history whose rows of the item-to-item tables are read.
        """
        self.tables = tables
        self._table_length = table_length
        self._weight = {name: np.float32(weight) for name, weight in tables.weights.items()}
        steps = np.arange(max(tables.history_length, table_length, _LAST_LENGTH))
        self._last = np.power(0.5, steps / _LAST_HALF_LIFE)
        self._recent = np.power(0.5, steps / _RECENT_HALF_LIFE)
        self._inverse_base = (1.0 / (_PRIOR * tables.popularity.astype(np.float64))).astype(np.float32)
        # Place 0 of what is counted by code is what is unknown.
        self._creators = tables.creators.astype(np.int64) + 1
        self._creator_count = int(self._creators.max(initial=0)) + 1
        self._languages = tables.languages.astype(np.int64) + 1
        known = tables.published_days != _UNKNOWN_DAY
        years, place = np.unique(np.floor(tables.published_days[known] / _DAYS_A_YEAR), return_inverse=True)
        self._years = np.zeros(len(known), dtype=np.int64)
        self._years[known] = place + 1
        self._closeness = np.exp(-np.abs(years[:, None] - years[None, :]) / _ERA_YEARS) / _SHARE_FLOOR
        self._days = tables.published_days.astype(np.float32)

    def scores(self, history: NDArray[np.int64], segment: Segment, candidates: NDArray[np.int64]) -> Array:
        """Score some items for one user.

        Args:
            history: Shape (h,), item rows, oldest first; may be empty or hold repeats.
            segment: What else is known of the user.
            candidates: Shape (c,), item rows.

        Returns:
            Shape (c,), finite.
        """
        scores = np.zeros(len(candidates), dtype=np.float32)
        if not self._weight:
            return scores
        newest = history[-self.tables.history_length :][::-1]
        recent = self._recent[: newest.size]
        if newest.size:
            recent = recent / recent.sum()
            self._add_neighbours(scores, newest[: self._table_length], candidates)
            self._add_topics(scores, newest, recent, candidates)
            self._add_creators(scores, newest, recent, candidates)
            self._add_publication(scores, newest, recent, candidates)
        self._add_languages(scores, newest, segment, candidates)
        return scores

    def _add_neighbours(
        self, scores: Array, newest: NDArray[np.int64], candidates: NDArray[np.int64]
    ) -> None:
        """Of the item-to-item tables: what follows the history, and what is visited together with it."""
        weight, length = self._weight, newest.size
        recent = self._recent[:length] / self._recent[:length].sum()
        by_last = weight.get("transition_from_last")
        by_recent = weight.get("transition_from_recent")
        if by_last is not None or by_recent is not None:
            columns, values, lengths = self.tables.transitions.gather(newest)
            inverse_base = self._inverse_base.take(candidates)
            if by_last is not None:
                last = self._last[: min(length, _LAST_LENGTH)]
                end = int(lengths[: last.size].sum())
                followed = values[:end] * (last / last.sum()).repeat(lengths[: last.size])
                ratios = self._sums(columns[:end], followed, candidates) * inverse_base
                scores += by_last * np.log1p(ratios)
            if by_recent is not None:
                followed = values * recent.repeat(lengths)
                ratios = self._sums(columns, followed, candidates) * inverse_base
                scores += by_recent * np.log1p(ratios)
        evenly, recently = weight.get("co_visitation"), weight.get("co_visitation_recent")
        if evenly is not None or recently is not None:
            # Linear in the rows: both features are one sum.
            mixed = (recently or 0.0) * recent + (evenly or 0.0) / length
            columns, values, lengths = self.tables.co_visitation.gather(newest)
            scores += self._sums(columns, values * mixed.repeat(lengths), candidates)

    def _sums(
        self, columns: NDArray[np.int32], values: NDArray[np.float64], candidates: NDArray[np.int64]
    ) -> Array:
        """Shape (c,): sum of the values of each candidate's column."""
        sums = np.bincount(columns, values, len(self._creators))
        return sums.take(candidates).astype(np.float32)

    def _add_topics(
        self,
        scores: Array,
        newest: NDArray[np.int64],
        recent: NDArray[np.float64],
        candidates: NDArray[np.int64],
    ) -> None:
        weight, topics = self._weight.get("topic_affinity"), self.tables.topics
        if weight is None:
            return
        columns, values, lengths = topics.gather(newest)
        profile = np.bincount(columns, values * recent.repeat(lengths), topics.width)
        columns, values, lengths = topics.gather(candidates)
        place = np.arange(len(candidates)).repeat(lengths)
        affinity = np.bincount(place, profile.take(columns) * values, len(candidates))
        scores += weight * affinity.astype(np.float32)

    def _add_creators(
        self,
        scores: Array,
        newest: NDArray[np.int64],
        recent: NDArray[np.float64],
        candidates: NDArray[np.int64],
    ) -> None:
        evenly = self._weight.get("creator_affinity")
        recently = self._weight.get("creator_affinity_recent")
        if evenly is None and recently is None:
            return
        codes, wanted = self._creators.take(newest), self._creators.take(candidates)
        for weight, masses, scale in (
            (evenly, None, 1.0),
            (recently, recent, 1.0 / _SHARE_FLOOR),
        ):
            if weight is not None:
                by_creator = np.bincount(codes, masses, self._creator_count) * scale
                by_creator[0] = 0.0
                scores += weight * np.log1p(by_creator.take(wanted).astype(np.float32))

    def _add_languages(
        self, scores: Array, newest: NDArray[np.int64], segment: Segment, candidates: NDArray[np.int64]
    ) -> None:
        heard, spoken = self._weight.get("language_affinity"), self._weight.get("segment_language_match")
        names = self.tables.language_names
        by_language = np.zeros(len(names) + 1, dtype=np.float32)
        if heard is not None and newest.size:
            shares = np.bincount(self._languages.take(newest), minlength=len(names) + 1) / newest.size
            by_language += heard * np.log1p(shares / _SHARE_FLOOR)
            by_language[0] = 0.0
        if spoken is not None and segment.language in names:
            by_language[1 + names.index(segment.language)] += spoken
        scores += by_language.take(self._languages.take(candidates))

    def _add_publication(
        self,
        scores: Array,
        newest: NDArray[np.int64],
        recent: NDArray[np.float64],
        candidates: NDArray[np.int64],
    ) -> None:
        by_era, by_delay = self._weight.get("era_affinity"), self._weight.get("published_after_history")
        years = self._years.take(newest)
        if (by_era is None and by_delay is None) or not years.any():
            return
        if by_era is not None:
            mass = np.bincount(years, recent, len(self._closeness) + 1)
            by_year = np.zeros(len(mass), dtype=np.float32)
            by_year[1:] = by_era * np.log1p(self._closeness @ mass[1:])
            scores += by_year.take(self._years.take(candidates))
        if by_delay is not None:
            # An unknown day is before every other.
            days_after = self._days.take(candidates) - self._days.take(newest).max()
            scores += by_delay * np.log1p(np.maximum(days_after, 0.0))


def static_scores(tables: CandidateTables, weights: Mapping[str, float]) -> Array:
    """Shape (n,): what the features that no user changes add to the score of each item, around zero."""
    every = np.arange(len(tables.popularity))
    features = tables.features(every[:0], Segment(), every)
    scores = np.zeros(len(every), dtype=np.float64)
    for name in _STATIC:
        scores += weights.get(name, 0.0) * features[:, FEATURES.index(name)]
    centred: Array = (scores - scores.mean()).astype(np.float32)
    return centred
