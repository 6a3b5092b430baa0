"""Rates of groups as Fairlearn computes them; the one module that knows it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from streamrec.gates.fairness.groups import Partition

_OF_POSITIVES: Final = ("tpr", "fnr")
_OF_NEGATIVES: Final = ("fpr",)


def rates_by_group(
    part: Partition, labels: NDArray[np.float64], selected: NDArray[np.bool_]
) -> dict[str, dict[str, float]]:
    """Selection rate, true positive, false positive and false negative rate of every group that has them.

    Args:
        part: Which group each row belongs to.
        labels: Shape (rows,), 0 or 1.
        selected: Shape (rows,).
    """
    from fairlearn.metrics import (
        MetricFrame,
        false_negative_rate,
        false_positive_rate,
        selection_rate,
        true_positive_rate,
    )

    rows = part.codes >= 0
    if not rows.any():
        return {}
    codes, truth, chosen = part.codes[rows], labels[rows].astype(int), selected[rows].astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of groups without positives or negatives; those are left out below
        frame = MetricFrame(
            metrics={
                "selection_rate": selection_rate,
                "tpr": true_positive_rate,
                "fpr": false_positive_rate,
                "fnr": false_negative_rate,
            },
            y_true=truth,
            y_pred=chosen,
            sensitive_features=codes,
        ).by_group
    positives = np.bincount(codes, weights=truth, minlength=len(part.names))
    everybody = np.bincount(codes, minlength=len(part.names))
    found: dict[str, dict[str, float]] = {}
    for code, figures in frame.iterrows():
        absent = (
            *(_OF_POSITIVES if positives[code] == 0 else ()),
            *(_OF_NEGATIVES if positives[code] == everybody[code] else ()),
        )
        found[part.names[code]] = {
            str(metric): float(value) for metric, value in figures.items() if metric not in absent
        }
    return found
