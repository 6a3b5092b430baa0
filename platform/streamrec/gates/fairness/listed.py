"""Comparisons of answers that are lists of items: what groups of users get, and which items are shown.

*NDCG* of a group of users: the mean over its requests, clustered by user. *Exposure* of a group of items (the
creators of a language): the attention that it gets for its merit (Singh and Joachims 2018, "Fairness of
exposure in rankings", sec. 4.3),

    sum over requests of the share of attention at its positions
    ------------------------------------------------------------ ,
    sum over requests of its share of the relevant items

with attention 1 / log2(1 + position). It is 1 where a group is shown as much as it is wanted, and a small
group's ratio can be as far from that of the reference as a large one's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.intervals import Interval, interval_json
from streamrec.contracts.specification.fairness_policy import FairnessMetric, FairnessPolicy
from streamrec.contracts.specification.quality_policy import QualityMetric
from streamrec.gates.fairness.differences import Comparison, MeanDifference, Undecided
from streamrec.gates.fairness.groups import MISSING, Partition, is_missing, reference_of, refuse_ids
from streamrec.gates.predictions import Lists
from streamrec.gates.quality.metrics import metric_of_lists
from streamrec.stats.clustered import ClusteredEstimate, Units
from streamrec.stats.fairness_decision import welch_degrees

LISTED_METRICS: Final = frozenset({FairnessMetric.NDCG, FairnessMetric.EXPOSURE})

Floats = NDArray[np.float64]


class ListedGroups:
    """Figures of groups over lists, and the comparisons of them.

    Args:
        item_ids: Of each request: what was shown, best first.
        relevant: Of each request: what was right; a request without is left out of both metrics.
        units: Of each request, text.
        at: Positions that count.
        policy: Names reference, smallest size and groups that must be there.
    """

    def __init__(
        self,
        item_ids: Lists,
        relevant: Lists,
        units: NDArray[np.object_],
        *,
        at: int,
        policy: FairnessPolicy,
    ) -> None:
        self._rows = np.flatnonzero(relevant.lengths > 0)
        self._items = [item_ids[row][:at] for row in self._rows.tolist()]
        self._relevant = [relevant[row] for row in self._rows.tolist()]
        self._names = np.asarray(units)[self._rows]
        self._at, self._policy = at, policy
        self.figures: dict[str, dict[str, Any]] = {}
        self.comparisons: list[Comparison] = []

    def compare_users(self, partition: Partition, tolerance: float | None) -> None:
        """Measure the NDCG of every group; compare where a tolerance is given."""
        codes = partition.codes[self._rows]
        measured: dict[str, ClusteredEstimate] = {}
        sizes = {
            name: int((codes == code).sum())
            for code, name in enumerate(partition.names)
            if (codes == code).any()
        }
        for code, name in enumerate(partition.names):
            rows = np.flatnonzero(codes == code)
            if not len(rows):
                continue
            estimate = metric_of_lists(
                QualityMetric.NDCG,
                [self._items[row].tolist() for row in rows],
                [self._relevant[row].tolist() for row in rows],
                Units.named(self._names[rows].tolist()),
                at=self._at,
            )
            measured[name] = estimate
            self._note(name, "ndcg", len(rows), estimate)
        reference = reference_of(sizes, partition.title, self._policy)
        if tolerance is None or reference is None:
            return
        for name in self._compared(sizes, reference, partition.title):
            self.comparisons.append(
                Comparison(
                    FairnessMetric.NDCG,
                    name,
                    reference,
                    tolerance,
                    sizes.get(name, 0),
                    mean=_independent(measured.get(name), measured[reference]),
                    trials_per_row=_units_per_row(
                        measured.get(name, measured[reference]), sizes, name, reference
                    ),
                    least_rows=self._policy.minimum_group_size,
                    undecided=self._undecided(sizes, name, reference),
                )
            )

    def compare_items(self, attribute: str, group_of: Mapping[str, str], tolerance: float | None) -> None:
        """Measure the exposure of every group of items; compare where a tolerance is given.

        Args:
            attribute: Name of the groups.
            group_of: Group by item, of the whole catalogue: a group that is never shown counts too.
            tolerance: Largest tolerated difference of exposure for merit.
        """
        names = sorted({*group_of.values(), MISSING})
        refuse_ids(attribute, len(names))
        place = {name: number for number, name in enumerate(names)}
        units = Units.named(self._names.tolist()) if len(self._names) else None
        if units is None:
            return
        shown, wanted = np.zeros((2, len(self._items), len(names)))
        entries = np.zeros(len(names), dtype=np.int64)
        for row, (items, relevant) in enumerate(zip(self._items, self._relevant, strict=True)):
            attention = 1.0 / np.log2(np.arange(2, len(items) + 2))
            for item, weight in zip(items, attention / max(attention.sum(), 1e-300), strict=True):
                shown[row, place[group_of.get(item, MISSING)]] += weight
            for item in relevant:
                group = place[group_of.get(item, MISSING)]
                wanted[row, group] += 1.0 / len(relevant)
                entries[group] += 1
        sizes = {f"{attribute}={name}": int(entries[number]) for number, name in enumerate(names)}
        if not sizes[f"{attribute}={MISSING}"] and not shown[:, place[MISSING]].any():
            del sizes[f"{attribute}={MISSING}"]
        measured = {}
        for number, name in enumerate(names):
            title = f"{attribute}={name}"
            if title not in sizes:
                continue
            estimate = _ratio(units, shown[:, number], wanted[:, number])
            self._note(title, "exposure", sizes[title], estimate)
            if estimate is not None:
                measured[title] = estimate
        reference = reference_of({name: sizes[name] for name in measured}, attribute, self._policy)
        if tolerance is None or reference is None:
            return
        for name in self._compared(sizes, reference, attribute):
            self.comparisons.append(
                Comparison(
                    FairnessMetric.EXPOSURE,
                    name,
                    reference,
                    tolerance,
                    sizes.get(name, 0),
                    mean=_paired(measured.get(name), measured[reference]),
                    trials_per_row=units.count / len(self._rows),
                    least_rows=self._policy.minimum_group_size,
                    undecided=self._undecided(sizes, name, reference),
                )
            )

    def _compared(self, sizes: Mapping[str, int], reference: str, title: str) -> list[str]:
        expected = [f"{title}={name}" for name in self._policy.groups.get(title, ())]
        least = self._policy.minimum_group_size
        found = [name for name in sizes if not is_missing(name) or sizes[name] >= least]
        return [name for name in dict.fromkeys([*found, *expected]) if name != reference]

    def _undecided(self, sizes: Mapping[str, int], name: str, reference: str) -> Undecided | None:
        if not sizes.get(name):
            return Undecided.GROUP_MISSING
        if min(sizes[name], sizes[reference]) < self._policy.minimum_group_size:
            return Undecided.GROUP_TOO_SMALL
        return None

    def _note(self, group: str, metric: str, count: int, estimate: ClusteredEstimate | None) -> None:
        interval: Interval | None = None
        if estimate is not None and estimate.errors.size > 1:
            interval = estimate.interval(self._policy.confidence)
        self.figures.setdefault(group, {"count": count})[metric] = interval_json(interval)


def _ratio(units: Units, shown: Floats, wanted: Floats) -> ClusteredEstimate | None:
    """A ratio of sums by the delta method, over units; None where nothing of the group is relevant."""
    attention, merit = units.sums(shown), units.sums(wanted)
    if merit.sum() <= 0.0:
        return None
    value = float(attention.sum() / merit.sum())
    return ClusteredEstimate(value, (attention - value * merit) / merit.mean())


def _independent(own: ClusteredEstimate | None, reference: ClusteredEstimate) -> MeanDifference | None:
    if own is None or min(own.errors.size, reference.errors.size) < 2:
        return None
    sizes = np.array([own.errors.size, reference.errors.size])
    # That all users of a sample have the same does not show that all users have: one more might differ.
    least = np.sqrt(sizes + 1.0) / (sizes + 2.0)
    deviations = np.maximum([own.deviation, reference.deviation], least)
    error = float(np.hypot(*(deviations / np.sqrt(sizes))))
    cumulant = _third_cumulant(own) - _third_cumulant(reference)
    return MeanDifference(
        value=own.value - reference.value,
        standard_error=error,
        degrees=float(welch_degrees(deviations[0], sizes[0], deviations[1], sizes[1])),
        deviation=float(deviations[0]),
        reference_deviation=float(deviations[1]),
        units=own.errors.size,
        skewness=cumulant / (6.0 * error**3),
    )


def _paired(own: ClusteredEstimate | None, reference: ClusteredEstimate) -> MeanDifference | None:
    """Groups of items meet in the same answers: what the two have in common cancels."""
    if own is None or own.errors.size < 2:
        return None
    difference = own - reference
    units = difference.errors.size
    error = difference.standard_error
    return MeanDifference(
        difference.value,
        error,
        units - 1.0,
        difference.deviation,
        0.0,
        units,
        _third_cumulant(difference) / (6.0 * error**3) if error > 0.0 else 0.0,
    )


def _third_cumulant(estimate: ClusteredEstimate) -> float:
    """Of the estimate itself: that of its terms over their number squared."""
    return float((estimate.errors**3).mean() / estimate.errors.size**2)


def _units_per_row(estimate: ClusteredEstimate, sizes: Mapping[str, int], name: str, reference: str) -> float:
    return estimate.errors.size / (sizes.get(name) or sizes[reference])
