"""Item-to-item tables as full as those of trained rankers, for the made-up models of a load test.

How long a row is by the popularity of its item, and how large its values are, follows a ranker that was
trained on the simulated world with 20,000 items: its rows of transitions hold 47 entries on average, those of
co-visitation 152, and those of popular items, which is what histories are made of, the most that are kept.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.load_tests.made_world import LANGUAGES, MadeWorld
from services.recommendations.ranking.candidate_features import FEATURES
from services.recommendations.ranking.settings import FeatureSettings
from services.recommendations.ranking.student.features import FeatureTables, SparseRows
from streamrec.datasets.catalogue import Catalogue

_BLOCK_ROWS: Final = 20_000
"""Rows that are drawn at once: it bounds the memory, whatever the catalogue."""
_TRANSITION_DECAY: Final = 4.5
_TRANSITION_VALUES: Final = (3e-4, 0.2)
_CO_VISITATION_VALUES: Final = (1.5e-3, 0.9)
_NOT_OF_A_USER: Final = frozenset({"log_popularity", "log_age"})
_WEIGHT: Final = 0.1


def feature_tables(world: MadeWorld, catalogue: Catalogue) -> FeatureTables:
    """Every table that the student's features are computed from, and a weight for each feature."""
    settings = FeatureSettings()
    count = len(catalogue)
    ranks = np.empty(count)
    ranks[np.argsort(-world.popularity, kind="stable")] = np.arange(count) / count
    most = settings.neighbour_count
    rng = np.random.default_rng([world.settings.seed, 5])
    creators = tuple(sorted(set(catalogue.creator_ids)))
    creator_of = {name: number for number, name in enumerate(creators)}
    topics = tuple(sorted({topic for topics in catalogue.topics for topic in topics}))
    names = tuple(sorted(LANGUAGES))
    days = catalogue.published_at.astype("datetime64[D]").astype(np.int32)
    return FeatureTables(
        weights={name: _WEIGHT for name in FEATURES if name not in _NOT_OF_A_USER},
        transitions=_rows(most * np.exp(-_TRANSITION_DECAY * ranks), _TRANSITION_VALUES, world, rng),
        co_visitation=_rows(most * (1.0 - ranks), _CO_VISITATION_VALUES, world, rng),
        topics=_topic_rows(catalogue, topics),
        popularity=world.popularity.astype(np.float32),
        creators=np.array([creator_of[name] for name in catalogue.creator_ids], dtype=np.int32),
        languages=np.array([names.index(name) for name in LANGUAGES], dtype=np.int32)[world.languages],
        published_days=days,
        language_names=names,
        history_length=settings.history_length,
        creator_names=creators,
        topic_names=topics,
    )


def _rows(
    wanted: NDArray[np.float64], values: tuple[float, float], world: MadeWorld, rng: np.random.Generator
) -> SparseRows:
    """Rows of about the wanted lengths, shape (n,): columns by popularity, values even in logarithm."""
    count = len(wanted)
    lengths = np.minimum(np.rint(wanted).astype(np.int64), count // 2)
    running = np.cumsum(world.popularity)
    columns: list[NDArray[np.int32]] = []
    kept_lengths: list[NDArray[np.int64]] = []
    for start in range(0, count, _BLOCK_ROWS):
        block = lengths[start : start + _BLOCK_ROWS]
        rows = np.repeat(np.arange(len(block)), block)
        drawn = np.minimum(np.searchsorted(running, rng.random(len(rows)), side="right"), count - 1)
        # One number for row and column: sorted, it is both in order, and repeats stand side by side.
        keys = np.sort(rows * count + drawn)
        keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys
        columns.append((keys % count).astype(np.int32))
        kept_lengths.append(np.bincount(keys // count, minlength=len(block)))
    starts = np.concatenate([[0], np.cumsum(np.concatenate(kept_lengths))]).astype(np.int64)
    # Plain floats: NumPy's own would turn hundreds of millions of values into double precision.
    low, high = (float(bound) for bound in np.log(values))
    drawn_values = np.exp(low + (high - low) * rng.random(int(starts[-1]), dtype=np.float32))
    return SparseRows(starts, np.concatenate(columns), drawn_values, count)


def _topic_rows(catalogue: Catalogue, names: tuple[str, ...]) -> SparseRows:
    column_of = {name: column for column, name in enumerate(names)}
    rows = [sorted(column_of[topic] for topic in set(topics)) for topics in catalogue.topics]
    lengths = np.array([len(row) for row in rows])
    return SparseRows(
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array([column for row in rows for column in row], dtype=np.int32),
        (1.0 / np.sqrt(lengths)).repeat(lengths).astype(np.float32),
        len(names),
    )
