"""Finding repeated identifiers, and exact duplicates in a stream of rows, in 8 bytes a row."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def repeated_ids(
    values: NDArray[np.object_], accepted: NDArray[np.bool_], seen: set[str]
) -> NDArray[np.bool_]:
    """Shape (rows,): whether an accepted row's identifier is in ``seen`` already; adds the new ones to it."""
    repeated = np.zeros(len(values), dtype=np.bool_)
    for row in np.flatnonzero(accepted):
        repeated[row] = values[row] in seen
        seen.add(values[row])
    return repeated


class DuplicateRows:
    """Remembers a 64-bit hash of every row seen.

    Two different rows share a hash with a probability of about n^2 / 2^65: 2e-5 for 25 million rows. Such a
    row would stand in quarantine, visible, not vanish. The hashes lie in sorted arrays whose sizes grow
    geometrically (a log-structured merge), so a lookup touches a logarithmic number of them.
    """

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []

    def check(self, rows: pd.DataFrame, accepted: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Shape (rows,): whether an accepted row equals an earlier accepted one, of this call or before."""
        hashes = pd.util.hash_pandas_object(rows[accepted], index=False).to_numpy(dtype=np.uint64)
        repeated = np.ones(len(hashes), dtype=np.bool_)
        unique, first = np.unique(hashes, return_index=True)
        repeated[first] = False
        for run in self._runs:
            position = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
            repeated |= run[position] == hashes
        self._remember(unique.astype(np.uint64))
        duplicate = np.zeros(len(rows), dtype=np.bool_)
        duplicate[np.flatnonzero(accepted)] = repeated
        return duplicate

    def _remember(self, unique: NDArray[np.uint64]) -> None:
        if not len(unique):
            return
        self._runs.append(unique)
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            newer = self._runs.pop()
            self._runs[-1] = np.union1d(self._runs[-1], newer)
