"""Finding repeated identifiers, and exact duplicates in a stream of rows, in 8 bytes a row."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing
_PARTS: Final = 64
_PART_STARTS: Final = np.arange(1, _PARTS, dtype=np.uint64) << np.uint64(58)
"""The lowest hash of each part but the first: 6 bits choose one of `_PARTS`."""


def repeated_ids(
    values: NDArray[np.object_], accepted: NDArray[np.bool_], seen: set[str]
) -> NDArray[np.bool_]:
    """Shape (rows,): whether an accepted row's identifier is in ``seen`` already; adds the new ones to it."""
    repeated = np.zeros(len(values), dtype=np.bool_)
    for row in np.flatnonzero(accepted):
        repeated[row] = values[row] in seen
        seen.add(values[row])
    return repeated


def value_hashes(values: NDArray[Any], *, distinct: bool = False) -> Hashes:
    """Shape (rows,): a 64-bit hash of each text or number; ``distinct`` says that hardly any is repeated."""
    try:
        return _hashed(values, distinct)
    except UnicodeEncodeError:  # lone surrogates, which stand for what is no UTF-8
        shown = [v if v is None else v.encode("utf-8", "backslashreplace").decode() for v in values.tolist()]
        return _hashed(np.array(shown, dtype=object), distinct)


def _hashed(values: NDArray[Any], distinct: bool) -> Hashes:
    return pd.util.hash_array(values, categorize=not distinct).astype(np.uint64, copy=False)


def row_hashes(*columns: Hashes) -> Hashes:
    """Shape (rows,): a hash of each row from its values' hashes; the order of the columns counts."""
    rows = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        rows *= _MULTIPLIER
        rows += column
    return rows


class SeenHashes:
    """A set of 64-bit hashes that tells what is new to it, in 8 bytes each.

    Two different things share a hash with a probability of about n^2 / 2^65: 2e-5 for 25 million. The hashes
    lie in `_PARTS` parts by their first bits, so that merging copies a part and not all of them; a part is a
    few sorted arrays whose sizes grow geometrically (a log-structured merge), and no hash lies in two.
    """

    def __init__(self) -> None:
        self._parts: list[list[Hashes]] = [[] for _ in range(_PARTS)]

    def __len__(self) -> int:
        return sum(len(run) for runs in self._parts for run in runs)

    def add(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Shape (rows,): whether each was there already, or stands earlier in ``hashes``."""
        order = np.argsort(hashes, kind="stable")  # of equal ones the first stays the first
        ordered = hashes[order]
        repeated = np.zeros(len(hashes), dtype=np.bool_)
        repeated[1:] = ordered[1:] == ordered[:-1]
        bounds = [0, *np.searchsorted(ordered, _PART_STARTS).tolist(), len(ordered)]
        for runs, start, end in zip(self._parts, bounds[:-1], bounds[1:], strict=True):
            part, known = ordered[start:end], repeated[start:end]
            for run in runs:
                position = np.minimum(np.searchsorted(run, part), len(run) - 1)
                known |= run[position] == part
            _remember(runs, part[~known])
        result = np.empty_like(repeated)
        result[order] = repeated
        return result


def _remember(runs: list[Hashes], new: Hashes) -> None:
    if not len(new):
        return
    runs.append(new)
    while len(runs) > 1 and len(runs[-2]) <= 2 * len(runs[-1]):
        merged = np.concatenate([runs.pop(), runs.pop()])
        merged.sort()
        runs.append(merged)


class DuplicateRows:
    """Remembers a hash of every accepted row; a row that is taken for another stands in quarantine, visible.

    8 bytes a row are less than a tenth of what the data takes where it is read for training.
    """

    def __init__(self) -> None:
        self._seen = SeenHashes()

    def check(self, hashes: Hashes, accepted: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Shape (rows,): whether an accepted row equals an earlier accepted one, of this call or before."""
        duplicate = np.zeros(len(hashes), dtype=np.bool_)
        duplicate[accepted] = self._seen.add(hashes[accepted])
        return duplicate
