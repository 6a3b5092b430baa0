"""Features of a candidate for a user, computed from counts and content, with a weight each in the score."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.recommendations.contracts.candidates import Segment
from services.recommendations.ranking.item_tables import (
    co_visitation,
    transition_probabilities,
    weighted_rows,
)
from services.recommendations.ranking.settings import FeatureSettings
from streamrec.contracts.conventions import UNKNOWN
from streamrec.datasets.catalogue import Catalogue
from streamrec.training.splits import UserHistories

FEATURES: Final = (
    "log_popularity",
    "transition_from_last",
    "transition_from_recent",
    "co_visitation",
    "co_visitation_recent",
    "topic_affinity",
    "creator_affinity",
    "creator_affinity_recent",
    "language_affinity",
    "segment_language_match",
    "era_affinity",
    "published_after_history",
    "log_age",
)
"""Names of the features, in the order of the last axis of `CandidateTables.features`."""

_LAST_HALF_LIFE: Final = 1.0
_RECENT_HALF_LIFE: Final = 10.0
_PRIOR: Final = 0.2
"""Weight of popularity in the mixture that a transition probability is compared with."""
_SHARE_FLOOR: Final = 0.02
_ERA_YEARS: Final = 2.0
_DAYS_A_YEAR: Final = 365.25
_UNKNOWN_DAY: Final = np.iinfo(np.int32).min


@dataclass(frozen=True)
class CandidateTables:
    """Everything that the features of n items are computed from.

    Attributes:
        popularity: Shape (n,), float32: share of the train interactions, smoothed, sums to 1.
        transitions: Shape (n, n), sparse; see `transition_probabilities`.
        co_visitation: Shape (n, n), sparse; see `item_tables.co_visitation`.
        topics: Shape (n, topics), sparse, rows of unit length; an item without topics has an empty row.
        creators: Shape (n,), int32: creator by number, -1 where unknown.
        languages: Shape (n,), int32: position in ``language_names``, -1 where unknown.
        language_names: Names of the languages.
        published_days: Shape (n,), int32: day of publication since 1970, the smallest int32 where unknown.
        last_day: Day of the newest train interaction.
        history_length: Newest items of a history that count.
        creator_names: Creators by number; empty in an artifact of an earlier release.
        topic_names: Topics by column; empty in an artifact of an earlier release.
    """

    popularity: NDArray[np.float32]
    transitions: sparse.csr_matrix
    co_visitation: sparse.csr_matrix
    topics: sparse.csr_matrix
    creators: NDArray[np.int32]
    languages: NDArray[np.int32]
    language_names: tuple[str, ...]
    published_days: NDArray[np.int32]
    last_day: int
    history_length: int
    creator_names: tuple[str, ...] = ()
    topic_names: tuple[str, ...] = ()

    @classmethod
    def fit(cls, train: UserHistories, catalogue: Catalogue, settings: FeatureSettings) -> Self:
        """Count ``train``; nothing of a user's held-out items can be in the tables."""
        item_count = len(catalogue)
        smoothed = np.bincount(train.items, minlength=item_count) + 0.5
        names = tuple(language for language in catalogue.languages if language != UNKNOWN)
        days = catalogue.published_at.astype("datetime64[D]").astype(np.int64)
        days = np.where(np.isnat(catalogue.published_at), _UNKNOWN_DAY, days)
        creators = tuple(sorted(set(catalogue.creator_ids) - {UNKNOWN}))
        topics = tuple(sorted({topic for topics in catalogue.topics for topic in topics}))
        last_second = int(train.timestamps.max()) if train.timestamps.size else 0
        return cls(
            popularity=(smoothed / smoothed.sum()).astype(np.float32),
            transitions=transition_probabilities(train, item_count, settings),
            co_visitation=co_visitation(train, item_count, settings),
            topics=_topic_matrix(catalogue, topics),
            creators=_codes(catalogue.creator_ids, creators),
            languages=_codes(catalogue.creator_languages, names),
            language_names=names,
            published_days=days.astype(np.int32),
            last_day=last_second // 86_400,
            history_length=settings.history_length,
            creator_names=creators,
            topic_names=topics,
        )

    @cached_property
    def _static(self) -> NDArray[np.float64]:
        """Shape (n, 2): log popularity and log age, which no user changes."""
        known = self.published_days != _UNKNOWN_DAY
        age_days = np.maximum(self.last_day - self.published_days.astype(np.int64), 0)
        log_age = np.where(known, np.log1p(age_days), 0.0)
        # An unknown age is the middle of the known ones: neither new nor old.
        log_age[~known] = np.median(log_age[known]) if known.any() else 0.0
        return np.stack([np.log(self.popularity.astype(np.float64)), log_age], axis=1)

    @cached_property
    def _years(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Distinct years of publication, and shape (n,): position of each item's year, -1 where unknown."""
        known = self.published_days != _UNKNOWN_DAY
        distinct, place = np.unique(np.floor(self.published_days[known] / _DAYS_A_YEAR), return_inverse=True)
        codes = np.full(len(known), -1, dtype=np.int64)
        codes[known] = place
        return distinct, codes

    def features(
        self, history: NDArray[np.int64], segment: Segment, candidates: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Compute every feature of some candidates for one user.

        Args:
            history: Shape (h,), item rows, oldest first; may be empty or hold repeats.
            segment: What else is known of the user.
            candidates: Shape (c,), item rows.

        Returns:
            Shape (c, len(FEATURES)), finite. Without history the features of the history are all zero.
        """
        history = history[-self.history_length :]
        values = np.zeros((len(candidates), len(FEATURES)))
        static = self._static[candidates]
        values[:, 0], values[:, 12] = static[:, 0], static[:, 1]
        values[:, 9] = self._segment_language(segment, candidates)
        if history.size:
            last, recent = _weights(history.size, _LAST_HALF_LIFE), _weights(history.size, _RECENT_HALF_LIFE)
            even = np.full(history.size, 1.0 / history.size)
            base = _PRIOR * self.popularity[candidates].astype(np.float64)
            for column, weights in ((1, last), (2, recent)):
                followed = weighted_rows(self.transitions, history, weights)[candidates]
                values[:, column] = np.log1p(followed / base)
            for column, weights in ((3, even), (4, recent)):
                values[:, column] = weighted_rows(self.co_visitation, history, weights)[candidates]
            # All items at once: slicing the rows of a sparse matrix costs more than multiplying them.
            profile = weighted_rows(self.topics, history, recent).astype(np.float32)
            values[:, 5] = (self.topics @ profile)[candidates]
            values[:, 6] = np.log1p(_share(self.creators, history, even, candidates) * history.size)
            values[:, 7] = np.log1p(_share(self.creators, history, recent, candidates) / _SHARE_FLOOR)
            values[:, 8] = np.log1p(_share(self.languages, history, even, candidates) / _SHARE_FLOOR)
            values[:, 10], values[:, 11] = self._publication(history, recent, candidates)
        return values.astype(np.float32)

    def _segment_language(self, segment: Segment, candidates: NDArray[np.int64]) -> NDArray[np.float64]:
        if segment.language == UNKNOWN or segment.language not in self.language_names:
            return np.zeros(len(candidates))
        spoken = self.language_names.index(segment.language)
        return np.where(self.languages[candidates] == spoken, 1.0, 0.0)

    def _publication(
        self, history: NDArray[np.int64], weights: NDArray[np.float64], candidates: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """How close to the years of the history, and log days after its newest publication."""
        era, after = np.zeros(len(candidates)), np.zeros(len(candidates))
        dated = self.published_days[history] != _UNKNOWN_DAY
        known = self.published_days[candidates] != _UNKNOWN_DAY
        if not dated.any():
            return era, after
        distinct, codes = self._years
        mass = np.bincount(codes[history[dated]], weights=weights[dated], minlength=distinct.size)
        closeness = np.exp(-np.abs(distinct[:, None] - distinct[None, :]) / _ERA_YEARS) @ mass
        era[known] = np.log1p(closeness / _SHARE_FLOOR)[codes[candidates[known]]]
        newest = self.published_days[history[dated]].max()
        days_after = self.published_days[candidates[known]].astype(np.int64) - int(newest)
        after[known] = np.log1p(np.maximum(days_after, 0))
        return era, after


def _weights(length: int, half_life: float) -> NDArray[np.float64]:
    """Shape (length,): halves with every ``half_life`` steps into the past, sums to 1."""
    weights = np.power(0.5, np.arange(length - 1, -1, -1) / half_life)
    return np.asarray(weights / weights.sum())


def _share(
    codes: NDArray[np.int32],
    history: NDArray[np.int64],
    weights: NDArray[np.float64],
    candidates: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Weighted share of the history that has each candidate's code; 0 for an unknown code."""
    known = codes[history] >= 0
    candidate_codes = codes[candidates]
    shares = np.bincount(
        codes[history][known], weights=weights[known], minlength=int(codes.max(initial=0)) + 1
    )
    return np.where(candidate_codes >= 0, shares[np.maximum(candidate_codes, 0)], 0.0)


def _codes(values: tuple[str, ...], names: tuple[str, ...]) -> NDArray[np.int32]:
    code_of = {name: code for code, name in enumerate(names)}
    return np.array([code_of.get(value, -1) for value in values], dtype=np.int32)


def _topic_matrix(catalogue: Catalogue, names: tuple[str, ...]) -> sparse.csr_matrix:
    code_of = {name: code for code, name in enumerate(names)}
    rows = [item for item, topics in enumerate(catalogue.topics) for _ in set(topics)]
    columns = [code_of[topic] for topics in catalogue.topics for topic in sorted(set(topics))]
    values = [1.0 / np.sqrt(len(set(topics))) for topics in catalogue.topics for _ in set(topics)]
    return sparse.csr_matrix((values, (rows, columns)), shape=(len(catalogue), len(names)), dtype=np.float32)
