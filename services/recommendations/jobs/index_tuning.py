"""What an index is measured on: the vectors of a trained retriever, and its users as queries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.recommendations.item_index.index import IndexKind, IndexSettings, ItemIndex
from services.recommendations.item_index.tuning import Queries, tune
from services.recommendations.item_index.tuning_report import TuningLimits, TuningReport
from services.recommendations.retrieval.model import TwoTowerRetriever
from services.recommendations.training.histories import user_states
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.progress import Progress
from streamrec.datasets.dataset import Dataset
from streamrec.training.splits import Split, leave_last_out

MAXIMUM_ITEMS = 2_000_000
"""Most items that a catalogue is copied to: half a gigabyte of vectors of 64 dimensions."""

_SAMPLED_DISTANCES = 1000


def tune_retriever(
    retriever: TwoTowerRetriever,
    dataset: Dataset,
    limits: TuningLimits,
    *,
    query_count: int,
    item_count: int | None,
    seed: int,
    progress: Progress,
) -> TuningReport:
    """Choose the index for a retriever's items; see `tune`.

    Args:
        retriever: Vectors and user tower.
        dataset: Users.
        limits: What must be reached.
        query_count: Users to search for; all of them if there are fewer.
        item_count: Measure at this many items, see `replicated`; those there are when None.
        seed: Of users, copies and k-means.
        progress: Shows the indexes built.

    Raises:
        InvalidInputError: Too few users, ``item_count`` out of range, or nothing reaches the limits.
    """
    rng = np.random.default_rng(seed)
    queries = user_queries(retriever, dataset, leave_last_out(dataset), query_count, rng)
    item_ids, vectors = replicated(retriever.index, item_count or len(retriever.index), rng)
    # What an untuned workspace would build stands in the table too.
    default = IndexSettings(exact_limit=0, seed=seed)
    return tune(item_ids, vectors, queries, limits, also=[default], seed=seed, progress=progress)


def user_queries(
    retriever: TwoTowerRetriever, dataset: Dataset, split: Split, count: int, rng: np.random.Generator
) -> Queries:
    """The vectors of ``count`` users (all if there are fewer) as they stand before their validation item.

    Args:
        retriever: Makes the user vectors; its index names the rows that are excluded.
        dataset: Segments.
        split: Train histories.
        count: Users wanted.
        rng: Chooses them.
    """
    users = np.sort(rng.permutation(len(split.train))[:count]).astype(np.int32)
    row_of = retriever.index.row_of
    vectors, excluded = [], []
    for state in user_states(dataset, split.train, users):
        vectors.append(retriever.user_vector(state))
        excluded.append(
            np.array(sorted({row_of[item] for item in state.history if item in row_of}), dtype=np.int64)
        )
    # In random order, so that two halves are alike.
    order = rng.permutation(len(vectors))
    shape = (len(vectors), retriever.index.dimension)
    return Queries(
        np.array(vectors, dtype=np.float32).reshape(shape)[order], [excluded[place] for place in order]
    )


def replicated(
    index: ItemIndex, item_count: int, rng: np.random.Generator
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """A larger catalogue like this one: the items themselves, then perturbed copies in turn.

    A copy lies in a random direction from its original, as far as some item lies from its nearest neighbour:
    closer, and every item would drag its copies into each answer; farther, and the clusters that an index
    lives on would be washed out.

    Args:
        index: The trained vectors.
        item_count: Items wanted, at least those there are.
        rng: Of directions and distances.

    Returns:
        Item ids and unit vectors, shape (item_count, d); the first rows are those of ``index``.

    Raises:
        InvalidInputError: Fewer items than there are, more than `MAXIMUM_ITEMS`, or a single item.
    """
    original = len(index)
    if not original <= item_count <= MAXIMUM_ITEMS:
        raise InvalidInputError(
            "item_count", f"must be in {original}..{MAXIMUM_ITEMS}: the catalogue has {original} items"
        )
    if item_count == original:
        return index.item_ids, np.array(index.vectors)
    if original == 1:
        raise InvalidInputError("item_count", "one item has no neighbour to learn distances from")
    distances = _nearest_neighbour_distances(index, rng)
    rows = np.arange(original, item_count) % original
    direction = rng.standard_normal((len(rows), index.dimension), dtype=np.float32)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = rng.choice(distances, len(rows)).astype(np.float32)[:, None]
    copies = index.vectors[rows] + length * direction
    copies /= np.linalg.norm(copies, axis=1, keepdims=True)
    names = tuple(
        f"{index.item_ids[row]}#{copy // original}" for copy, row in enumerate(rows.tolist(), original)
    )
    return index.item_ids + names, np.concatenate((index.vectors, copies))


def _nearest_neighbour_distances(index: ItemIndex, rng: np.random.Generator) -> NDArray[np.float64]:
    exact = ItemIndex.build(index.item_ids, index.vectors, IndexSettings(kind=IndexKind.EXACT))
    sampled = rng.permutation(len(index))[:_SAMPLED_DISTANCES]
    nearest = [
        exact.search_rows(index.vectors[row], 1, np.array([row], dtype=np.int64))[1][0] for row in sampled
    ]
    # Of unit vectors: |a - b|^2 = 2 - 2 a.b
    distances: NDArray[np.float64] = np.sqrt(np.maximum(2.0 - 2.0 * np.array(nearest, dtype=np.float64), 0.0))
    return distances
