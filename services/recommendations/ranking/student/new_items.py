"""What the student has for an item that it was not trained on: what items of the same content have.

Every table of the student has a row an item. For a new one it is predicted by a ridge regression of the rows
on the content of the trained items: topics, language and year together, then what their creator's items
have left, shrunk by how few they are (the mean of a normal with a normal prior; Gelman et al. 2013, "Bayesian
Data Analysis", sec. 5.4). Counts of what follows what stay zero: nobody has met the item yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.recommendations.ranking.student.features import FeatureTables, SparseRows
from services.recommendations.ranking.student.runtime import StudentWeights
from streamrec.contracts.items import Item

_RIDGE: Final = 5.0
"""In items: how many a topic, a language or a year needs to count half."""
_CREATOR_ITEMS: Final = 3.0
"""Items of a creator that count as much as that the creator is like any other."""
_UNKNOWN_DAY: Final = np.iinfo(np.int32).min
_DAYS_A_YEAR: Final = 365.25
_NEIGHBOURS: Final = 20
"""Trained items that say what a new one follows and is visited together with."""
_CHUNK: Final = 256
_ITEM_TABLES: Final = ("inputs", "keys", "values", "outputs", "biases")


@dataclass(frozen=True)
class ItemContent:
    """What is known of m items, in the codes of the student's tables.

    Attributes:
        topics: Shape (m, topics), rows of unit length.
        creators: Shape (m,), -1 where unknown.
        languages: Shape (m,), -1 where unknown.
        published_days: Shape (m,), the smallest int32 where unknown.
    """

    topics: SparseRows
    creators: NDArray[np.int32]
    languages: NDArray[np.int32]
    published_days: NDArray[np.int32]

    @classmethod
    def of_items(cls, items: Sequence[Item], tables: FeatureTables) -> Self:
        """Look up what training knew; a topic, creator or language that it did not know is unknown."""
        topic_code = {name: code for code, name in enumerate(tables.topic_names)}
        creator_code = {name: code for code, name in enumerate(tables.creator_names)}
        language_code = {name: code for code, name in enumerate(tables.language_names)}
        columns = [sorted({topic_code[t] for t in item.topics if t in topic_code}) for item in items]
        values = [
            np.full(len(own), 1.0 / np.sqrt(len(set(item.topics))))
            for own, item in zip(columns, items, strict=True)
            if own
        ]
        return cls(
            topics=SparseRows(
                np.concatenate([[0], np.cumsum([len(own) for own in columns])]).astype(np.int64),
                np.array([column for own in columns for column in own], dtype=np.int32),
                np.concatenate(values).astype(np.float32) if values else np.empty(0, dtype=np.float32),
                tables.topics.width,
            ),
            creators=np.array([creator_code.get(item.creator_id, -1) for item in items], dtype=np.int32),
            languages=np.array(
                [language_code.get(item.creator_language, -1) for item in items], dtype=np.int32
            ),
            published_days=np.array(
                [
                    _UNKNOWN_DAY
                    if item.published_at is None
                    else int(item.published_at.timestamp() // 86_400)
                    for item in items
                ],
                dtype=np.int32,
            ),
        )

    @classmethod
    def of_tables(cls, tables: FeatureTables) -> Self:
        """Of the items that the student was trained on."""
        return cls(tables.topics, tables.creators, tables.languages, tables.published_days)


class ContentRegression:
    """Predicts rows from content. Immutable once it is fitted."""

    def __init__(self, content: ItemContent, rows: NDArray[np.float32], language_count: int) -> None:
        """Fit it.

        Args:
            content: Of n items.
            rows: Shape (n, k): theirs.
            language_count: How many languages there are.
        """
        known = content.published_days[content.published_days != _UNKNOWN_DAY]
        self._years = np.unique(np.floor(known / _DAYS_A_YEAR))
        self._language_count = language_count
        design = self._design(content)
        self._mean = rows.mean(axis=0, dtype=np.float64)
        centred = rows - self._mean
        gram = (design.T @ design).toarray() + _RIDGE * np.eye(design.shape[1])
        self._slopes = np.linalg.solve(gram, design.T @ centred)
        left = centred - design @ self._slopes
        has_creator = content.creators >= 0
        codes = content.creators[has_creator]
        count = int(codes.max(initial=-1)) + 1
        members = sparse.csr_matrix(
            (np.ones(codes.size), (codes, np.arange(codes.size))), shape=(count, codes.size)
        )
        sizes = np.asarray(members.sum(axis=1)).ravel()
        self._creators = (members @ left[has_creator]) / (sizes + _CREATOR_ITEMS)[:, None]

    def predict(self, content: ItemContent) -> NDArray[np.float32]:
        """Shape (m, k): the rows to expect."""
        rows = self._mean + self._design(content) @ self._slopes
        has_creator = content.creators >= 0
        rows[has_creator] += self._creators[content.creators[has_creator]]
        return np.asarray(rows, dtype=np.float32)

    def _design(self, content: ItemContent) -> sparse.csr_matrix:
        count = len(content.creators)
        topics = sparse.csr_matrix(
            (content.topics.values, content.topics.columns, content.topics.starts),
            shape=(count, content.topics.width),
            dtype=np.float64,
        )
        year = np.floor(content.published_days / _DAYS_A_YEAR)
        place = np.searchsorted(self._years, year)
        known = (content.published_days != _UNKNOWN_DAY) & (place < self._years.size)
        known[known] = self._years[place[known]] == year[known]
        years = _one_hot(np.where(known, place, -1), self._years.size)
        return sparse.hstack([topics, _one_hot(content.languages, self._language_count), years]).tocsr()


def regression_of(weights: StudentWeights, tables: FeatureTables) -> ContentRegression:
    """Fit the rows of all of the student's tables at once."""
    rows = np.concatenate([_two_dimensional(weights, name) for name in _ITEM_TABLES], axis=1)
    return ContentRegression(ItemContent.of_tables(tables), rows, len(tables.language_names))


def extended_weights(weights: StudentWeights, predicted: NDArray[np.float32]) -> StudentWeights:
    """The weights with predicted rows below those that were learned."""
    changed: dict[str, Any] = {}
    start = 0
    for name in _ITEM_TABLES:
        table = getattr(weights, name)
        width = _two_dimensional(weights, name).shape[1]
        new = predicted[:, start : start + width].reshape(len(predicted), *table.shape[1:])
        changed[name] = np.concatenate([table, new])
        start += width
    return replace(weights, **changed)


def nearest(vectors: NDArray[np.float32], new: NDArray[np.float32]) -> sparse.csr_matrix:
    """Shape (n, m): a share of 1 spread evenly over the trained items whose vectors are nearest by cosine.

    Args:
        vectors: Shape (n, D): of the trained items.
        new: Shape (m, D): expected of the others.
    """
    count = min(_NEIGHBOURS, len(vectors))
    unit, rows = _unit(vectors), np.empty((len(new), count), dtype=np.int64)
    for start in range(0, len(new), _CHUNK):
        similar = _unit(new[start : start + _CHUNK]) @ unit.T
        rows[start : start + _CHUNK] = np.argpartition(-similar, count - 1, axis=1)[:, :count]
    columns = np.arange(len(new)).repeat(count)
    values = np.full(columns.size, 1.0 / count)
    return sparse.csr_matrix((values, (rows.ravel(), columns)), shape=(len(vectors), len(new)))


def extended_tables(
    tables: FeatureTables, content: ItemContent, neighbours: sparse.csr_matrix
) -> FeatureTables:
    """The feature tables with new items below.

    A new item is expected to follow, and to be visited together with, what its neighbours are on average;
    what follows it is not known.

    Args:
        tables: Of n items.
        content: Of m new ones.
        neighbours: Shape (n, m), see `nearest`.
    """
    return replace(
        tables,
        transitions=_with_columns(tables.transitions, neighbours),
        co_visitation=_with_columns(tables.co_visitation, neighbours),
        topics=tables.topics.extended(content.topics, tables.topics.width),
        popularity=np.concatenate([tables.popularity, (tables.popularity @ neighbours).astype(np.float32)]),
        creators=np.concatenate([tables.creators, content.creators]),
        languages=np.concatenate([tables.languages, content.languages]),
        published_days=np.concatenate([tables.published_days, content.published_days]),
    )


def _with_columns(rows: SparseRows, neighbours: sparse.csr_matrix) -> SparseRows:
    """Columns of new items to the right, the means of their neighbours'; their own rows, empty, below."""
    count, new = neighbours.shape
    whole = sparse.csr_matrix((rows.values, rows.columns, rows.starts), shape=(count, count))
    wider = sparse.hstack([whole, whole @ neighbours]).tocsr()
    empty = sparse.csr_matrix((new, count + new))
    return SparseRows.of(sparse.vstack([wider, empty]).tocsr())


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = vectors / np.maximum(norms, 1e-12)
    return unit


def _two_dimensional(weights: StudentWeights, name: str) -> NDArray[np.float32]:
    table: NDArray[np.float32] = getattr(weights, name)
    return table.reshape(len(table), -1)


def _one_hot(codes: NDArray[np.integer], width: int) -> sparse.csr_matrix:
    rows = np.flatnonzero(codes >= 0)
    return sparse.csr_matrix((np.ones(rows.size), (rows, codes[rows])), shape=(codes.size, width))
