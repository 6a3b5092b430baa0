"""The vector index over the items: the one module that knows FAISS.

The vectors in here are the shared embedding space of the spoke: the user tower's vectors and the posterior
draws of cold start are searched in the same index.

Which kind of index is a question of size and of the vectors; `streamrec recommendations index tune` answers
it by measurement (decision 9). The defaults need none: up to `IndexSettings.exact_limit` the search is exact,
since there an approximation saves next to nothing; above it more lists are probed than measured vectors asked
for.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import faiss
import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Candidates
from services.recommendations.item_index.settings import IndexKind, IndexSettings
from streamrec.contracts.errors import ArtifactError, InvalidInputError

__all__ = [
    "INDEX_FILE",
    "MINIMUM_POINTS_PER_LIST",
    "PROBED_SHARE",
    "SETTINGS_FILE",
    "VECTORS_FILE",
    "IndexKind",
    "IndexSettings",
    "ItemIndex",
]

INDEX_FILE: Final = "index.faiss"
VECTORS_FILE: Final = "item_vectors.npz"
SETTINGS_FILE: Final = "index.json"

_UNREADABLE: Final = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    RuntimeError,
    zipfile.BadZipFile,
    InvalidInputError,
)
"""What the readers of the three files raise on damage."""

_SMALLEST_NORM: Final = 1e-12
MINIMUM_POINTS_PER_LIST: Final = 39
"""FAISS warns below this many training points per inverted list."""
PROBED_SHARE: Final = 4.0
"""The probed lists hold at least this many times the items wanted and excluded."""


class ItemIndex:
    """Items by vector; finds those with the largest inner product. Immutable: a change makes another one.

    Attributes:
        item_ids: Length n, in row order.
        vectors: Shape (n, d), float32, read-only, of unit length (an all-zero vector stays zero).
        settings: What it was built with.
        hidden: Shape (h,), ascending: rows that no search returns. They keep their vectors: what a user did
            with an item counts after it was removed.
    """

    def __init__(
        self,
        item_ids: tuple[str, ...],
        vectors: NDArray[np.float32],
        settings: IndexSettings,
        index: Any,
        hidden: NDArray[np.int64] | None = None,
    ) -> None:
        self.item_ids = item_ids
        self.vectors = vectors
        self.settings = settings
        self.hidden = np.empty(0, dtype=np.int64) if hidden is None else hidden
        self._index = index
        # FAISS reads the bits where they lie, so they live as long as the index does.
        self._bits = np.packbits(self._visible(), bitorder="little")
        self._selector = (
            faiss.IDSelectorBitmap(self._bits.size, faiss.swig_ptr(self._bits)) if self.hidden.size else None
        )
        vectors.setflags(write=False)

    @classmethod
    def build(
        cls, item_ids: tuple[str, ...], vectors: NDArray[np.float32], settings: IndexSettings | None = None
    ) -> Self:
        """Normalise the vectors to unit length and index them.

        Args:
            item_ids: Length n, unique, not empty.
            vectors: Shape (n, d), finite.
            settings: Defaults where None.

        Raises:
            InvalidInputError: No items, repeated ids, another shape, or a vector that is not finite.
        """
        settings = settings or IndexSettings()
        if not item_ids:
            raise InvalidInputError("item_ids", "the catalogue is empty: there is nothing to index")
        unit = _unit_vectors(item_ids, vectors)
        return cls(tuple(item_ids), unit, settings, _build_index(unit, settings))

    def with_changes(
        self, item_ids: Sequence[str], vectors: NDArray[np.float32], removed: Collection[str]
    ) -> Self:
        """Return a copy that finds some more items and does not find some others.

        A graph is extended and lists are added to, as they were built: no new training. Rows stay where they
        are, and new ones follow.

        Args:
            item_ids: New items, none of which the index has.
            vectors: Theirs, shape (m, d), finite; brought to unit length.
            removed: Items to hide; unknown ones are ignored.

        Raises:
            InvalidInputError: An item is there already or repeated, or a vector has another shape or is not
                finite.
        """
        row_of = self.row_of
        there = [item_id for item_id in item_ids if item_id in row_of]
        if there:
            raise InvalidInputError("item_ids", f"the index has item {there[0]!r} already")
        index, whole, ids = self._index, self.vectors, self.item_ids
        if item_ids:
            unit = _unit_vectors(item_ids, vectors)
            if unit.shape[1] != self.dimension:
                raise InvalidInputError("vectors", f"must have {self.dimension} columns, not {unit.shape[1]}")
            index = faiss.clone_index(self._index)
            faiss.omp_set_num_threads(self.settings.thread_count)
            index.add(unit)
            whole, ids = np.concatenate((self.vectors, unit)), (*self.item_ids, *item_ids)
        hidden = {*self.hidden.tolist(), *(row_of[item] for item in removed if item in row_of)}
        return type(self)(ids, whole, self.settings, index, np.array(sorted(hidden), dtype=np.int64))

    def searched_with(self, settings: IndexSettings) -> Self:
        """Return the same index, searched with other settings.

        Raises:
            InvalidInputError: They would build another index.
        """
        if not settings.builds_the_same_as(self.settings):
            raise InvalidInputError("settings", "differ in more than the search: build another index")
        return type(self)(self.item_ids, self.vectors, settings, self._index, self.hidden)

    @property
    def dimension(self) -> int:
        """Length d of the vectors."""
        return int(self.vectors.shape[1])

    @property
    def exact(self) -> bool:
        """Whether every search looks at every item."""
        return isinstance(self._index, faiss.IndexFlat)

    def memory_bytes(self) -> int:
        """Bytes of the structure that is searched and of the whole vectors beside it. Not cheap."""
        return int(faiss.serialize_index(self._index).nbytes) + int(self.vectors.nbytes)

    def __len__(self) -> int:
        return len(self.item_ids)

    def _visible(self) -> NDArray[np.bool_]:
        """Shape (n,): whether a search may return the row."""
        visible = np.ones(len(self), dtype=np.bool_)
        visible[self.hidden] = False
        return visible

    @property
    def _visible_count(self) -> int:
        return len(self) - self.hidden.size

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row by item id."""
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    def search(self, vector: NDArray[np.float32], count: int, exclude: Collection[str] = ()) -> Candidates:
        """Find the ``count`` items with the largest inner product, best first.

        Args:
            vector: Shape (d,), finite; not necessarily of unit length.
            count: How many, 0 or more.
            exclude: Items that must not be returned; unknown ones are ignored.

        Returns:
            ``count`` items, fewer only where the catalogue has no more; equal scores in row order.

        Raises:
            InvalidInputError: The vector has another shape or is not finite, or ``count`` is negative.
        """
        row_of = self.row_of
        excluded = np.array(sorted({row_of[item] for item in exclude if item in row_of}), dtype=np.int64)
        rows, scores = self.search_rows(vector, count, excluded)
        item_ids = self.item_ids
        return Candidates(item_ids=tuple(map(item_ids.__getitem__, rows.tolist())), scores=scores)

    def search_rows(
        self, vector: NDArray[np.float32], count: int, excluded_rows: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """`search` by row number.

        Args:
            vector: Shape (d,).
            count: How many, 0 or more.
            excluded_rows: Shape (e,), rows that must not be returned besides the hidden ones, without
                repeats.

        Returns:
            Rows and scores, both of shape (m,), with m the smaller of ``count`` and the rows that are neither
            excluded nor hidden.
        """
        query = np.ascontiguousarray(vector, dtype=np.float32)
        if query.shape != (self.dimension,):
            raise InvalidInputError("vector", f"must have shape ({self.dimension},), not {query.shape}")
        if not np.isfinite(query).all():
            raise InvalidInputError("vector", "must be finite")
        if count < 0:
            raise InvalidInputError("count", "must be 0 or more")
        if self.hidden.size:
            excluded_rows = np.setdiff1d(excluded_rows, self.hidden, assume_unique=True)
        wanted = min(count, self._visible_count - len(excluded_rows))
        if wanted <= 0:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        # OpenMP keeps the number per calling thread, so it is set where the search runs.
        faiss.omp_set_num_threads(self.settings.thread_count)
        if self.exact:
            return self._search_exact(query, wanted, excluded_rows)
        return self._search_approximately(query, wanted, excluded_rows)

    def _search_exact(
        self, query: NDArray[np.float32], wanted: int, excluded_rows: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        # One more than needed shows whether the last place is tied with what did not fit; if it is, look
        # further, so that ties go to the lower row and not to whatever FAISS met first.
        depth = wanted + len(excluded_rows) + 1
        parameters = None
        if self._selector is not None:
            parameters = faiss.SearchParameters()
            parameters.sel = self._selector
        while True:
            depth = min(depth, self._visible_count)
            found_scores, found_rows = self._index.search(query[None], depth, params=parameters)
            rows, scores = self._without(found_rows[0], found_scores[0], excluded_rows)
            if depth == self._visible_count or scores[-1] < scores[wanted - 1]:
                return _best(rows, scores, wanted)
            depth *= 4

    def _search_approximately(
        self, query: NDArray[np.float32], wanted: int, excluded_rows: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        coded = self.settings.kind is IndexKind.IVF_SQ8
        asked = int(np.ceil(wanted * self.settings.rescored_share)) if coded else wanted
        depth = min(asked + len(excluded_rows), self._visible_count)
        effort, most = self._first_effort(depth)
        while True:
            found_scores, found_rows = self._index.search(query[None], depth, params=self._parameters(effort))
            found = found_rows[0] >= 0  # FAISS fills up with -1
            rows, scores = found_rows[0][found], found_scores[0][found]
            if coded:
                scores = self.vectors[rows] @ query
            rows, scores = self._without(rows, scores, excluded_rows)
            if len(rows) >= wanted:
                return _best(rows, scores, wanted)
            if effort == most:  # a graph may have nodes that no path leads to
                every = np.flatnonzero(self._visible())
                return _best(*self._without(every, self.vectors @ query, excluded_rows), wanted)
            effort = min(effort * 2, most)

    def _first_effort(self, depth: int) -> tuple[int, int]:
        """How many lists, or nodes of a graph, to look into at first, and at most."""
        if self.settings.kind is IndexKind.HNSW:
            return min(max(self.settings.search_depth, depth), len(self)), len(self)
        # A long history near the query would use up what a fixed number of lists holds.
        needed = int(np.ceil(PROBED_SHARE * depth * self._index.nlist / len(self)))
        return min(max(self.settings.probe_count, needed), self._index.nlist), self._index.nlist

    def _parameters(self, effort: int) -> Any:
        parameters: Any
        if self.settings.kind is IndexKind.HNSW:
            parameters = faiss.SearchParametersHNSW()  # type: ignore[attr-defined]  # not in FAISS's stubs
            parameters.efSearch = effort
        else:
            parameters = faiss.SearchParametersIVF()
            parameters.nprobe = effort
        if self._selector is not None:
            parameters.sel = self._selector
        return parameters

    def _without(
        self, rows: NDArray[np.int64], scores: NDArray[np.float32], excluded_rows: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if len(excluded_rows) == 0:
            return rows, scores
        # A mask of all rows would be as quick for a small catalogue, and takes longer for a larger one.
        ordered = np.sort(excluded_rows)
        place = np.searchsorted(ordered, rows)
        place[place == len(ordered)] = 0
        kept = ordered[place] != rows
        return rows[kept], scores[kept]

    def save(self, folder: Path) -> None:
        """Write the index, the vectors and the settings into ``folder``, which is made if need be."""
        if self.hidden.size:
            raise ArtifactError("an index that hides items is made from a saved one, and is not saved itself")
        folder.mkdir(parents=True, exist_ok=True)
        item_ids = np.array(self.item_ids, dtype=np.str_)
        if tuple(item_ids.tolist()) != self.item_ids:
            raise ArtifactError("an item id ends with a NUL character, which the file format cannot keep")
        faiss.write_index(self._index, str(folder / INDEX_FILE))
        np.savez(folder / VECTORS_FILE, item_ids=item_ids, vectors=self.vectors)
        (folder / SETTINGS_FILE).write_text(
            json.dumps(asdict(self.settings), indent=2, sort_keys=True) + "\n"
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ArtifactError: A file is missing, damaged, or does not fit the others.
        """
        try:
            settings = IndexSettings(**json.loads((folder / SETTINGS_FILE).read_text()))
            with (folder / VECTORS_FILE).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                # One object an id in a process: a look-up that finds it need not compare texts.
                item_ids = tuple(map(sys.intern, arrays["item_ids"].tolist()))
                vectors = np.ascontiguousarray(arrays["vectors"], dtype=np.float32)
            if not np.isfinite(vectors).all():
                raise ArtifactError(f"{folder / VECTORS_FILE} holds a vector that is not finite")
            index = faiss.read_index(str(folder / INDEX_FILE))
        except _UNREADABLE as error:
            raise ArtifactError(f"{folder} does not hold a readable item index: {error}") from error
        if (index.ntotal, index.d) != vectors.shape or len(item_ids) != len(vectors):
            raise ArtifactError(
                f"{folder}: {index.ntotal} x {index.d} in {INDEX_FILE}, but {len(item_ids)} items and "
                f"vectors of shape {vectors.shape} in {VECTORS_FILE}"
            )
        return cls(item_ids, vectors, settings, index)


def _unit_vectors(item_ids: Sequence[str], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Check items against their vectors; return the vectors at unit length, an all-zero one as it is."""
    vectors = np.asarray(vectors, dtype=np.float32)
    if len(set(item_ids)) != len(item_ids):
        raise InvalidInputError("item_ids", "an item stands in more than one row")
    if vectors.ndim != 2 or len(vectors) != len(item_ids) or vectors.shape[1] == 0:
        raise InvalidInputError("vectors", f"{len(item_ids)} items but vectors of shape {vectors.shape}")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        example = item_ids[int(np.argmin(finite))]
        raise InvalidInputError("vectors", f"the vector of item {example!r} is not finite")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(norms, _SMALLEST_NORM))


def _build_index(vectors: NDArray[np.float32], settings: IndexSettings) -> Any:
    count, dimension = vectors.shape
    faiss.omp_set_num_threads(settings.thread_count)
    index: Any
    if count <= settings.exact_limit or settings.kind is IndexKind.EXACT:
        index = faiss.IndexFlatIP(dimension)
    elif settings.kind is IndexKind.HNSW:
        index = faiss.IndexHNSWFlat(dimension, settings.neighbour_count, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = settings.construction_depth
    else:
        list_count = max(1, min(settings.list_count, count // MINIMUM_POINTS_PER_LIST))
        storage = "Flat" if settings.kind is IndexKind.IVF_FLAT else "SQ8"
        index = faiss.index_factory(dimension, f"IVF{list_count},{storage}", faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = settings.seed
        index.train(vectors)
    index.add(vectors)
    return index


def _best(
    rows: NDArray[np.int64], scores: NDArray[np.float32], wanted: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    order = np.lexsort((rows, -scores))[:wanted]
    return rows[order], np.ascontiguousarray(scores[order], dtype=np.float32)
