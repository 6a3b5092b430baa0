"""Rows of one unit (a user's requests) are not independent: by how much less they say than as many units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamrec.gates.fairness.groups import Partition
from streamrec.stats.clustered import Units, clustered_mean


class DesignEffects:
    """By how much the rows of one unit repeat each other; 1 where every row is of a unit of its own.

    Args:
        parts: Groups of the rows.
        labels, scores: Shape (rows,).
        threshold: Scores from here on are selected.
        units: Shape (rows,), text.
    """

    def __init__(
        self,
        parts: list[Partition],
        labels: NDArray[np.float64],
        scores: NDArray[np.float64],
        threshold: float,
        units: NDArray[np.object_],
    ) -> None:
        self._repeated = len(set(units.tolist())) < len(units)
        self._parts = {name: (part, code) for part in parts for code, name in enumerate(part.names)}
        self._labels, self._scores, self._threshold, self._units = labels, scores, threshold, units
        self._known: dict[tuple[str, str], float] = {}

    def __call__(self, group: str, metric: str) -> float:
        """Variance of a group's metric over that of as many independent rows, 1 or more."""
        if not self._repeated or group not in self._parts:
            return 1.0
        key = (group, metric)
        if key not in self._known:
            self._known[key] = self._measured(group, metric)
        return self._known[key]

    def _measured(self, group: str, metric: str) -> float:
        part, code = self._parts[group]
        selected = (self._scores >= self._threshold).astype(np.float64)
        of_group = part.codes == code
        if metric in ("tpr", "fnr"):
            of_group = of_group & (self._labels == 1.0)
        elif metric == "fpr":
            of_group = of_group & (self._labels != 1.0)
        values = (self._labels - self._scores if metric == "calibration" else selected)[of_group]
        if len(values) < 2 or values.std() == 0.0:
            return 1.0
        clustered = clustered_mean(values, Units.named(self._units[of_group].tolist()))
        if clustered.errors.size < 2:
            return float(len(values))
        alone = values.std(ddof=1) / np.sqrt(len(values))
        return max(1.0, float((clustered.standard_error / alone) ** 2))
