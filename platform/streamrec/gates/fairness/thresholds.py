"""Mitigation: a threshold of its own for each group, what it costs, and a predictor that applies it.

Post-processing by group thresholds (Hardt, Price and Srebro 2016, "Equality of opportunity in supervised
learning", sec. 4), without random decisions: of the thresholds that bring every group within half of the
tolerances of the reference, the most accurate ones; where there are none, those that bring them nearest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from streamrec.contracts.canonical_json import parse_json
from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.contracts.json_documents import STRICT, document_json, read_document
from streamrec.contracts.specification.fairness_policy import FairnessMetric, FairnessPolicy, GroupAttribute
from streamrec.gates.fairness.groups import AND, Partition, partitions, reference_of
from streamrec.gates.predictor import SCORE_COLUMN, Predictor

if TYPE_CHECKING:
    import pandas as pd

THRESHOLDS_FILE: Final = "group_thresholds.json"
"""In the artifact of the version that applies them."""

_CANDIDATES: Final = 200
_MAXIMUM_BYTES: Final = 1_000_000
_AIM: Final = 0.5
"""Of the tolerance: what is fitted on one sample must hold on another."""

Floats = NDArray[np.float64]
FiniteNumber = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class GroupThresholds:
    """From which score on each group's answer is yes.

    Attributes:
        attributes: Columns of the requests that name the group.
        threshold: What the score is compared with afterwards; groups that are not named keep it.
        thresholds: By name of the group, such as ``sex=F``.
        chances: Whether scores are between 0 and 1, and stay there.
        schema: The format.
    """

    __pydantic_config__ = STRICT

    attributes: Annotated[tuple[GroupAttribute, ...], Field(min_length=1, max_length=4)]
    threshold: FiniteNumber
    thresholds: Annotated[Mapping[str, FiniteNumber], Field(max_length=1_000)]
    chances: bool = True
    schema: Literal["streamrec.group_thresholds.v1"] = "streamrec.group_thresholds.v1"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return document_json(self)

    @classmethod
    def read(cls, path: Path) -> GroupThresholds:
        """Read the file of an artifact.

        Raises:
            ArtifactError: It is missing, or not what `to_json` makes.
        """
        try:
            return read_document(cls, parse_json(path.read_bytes(), maximum_bytes=_MAXIMUM_BYTES))
        except (OSError, InvalidInputError) as error:
            raise ArtifactError(f"{path.name} of the artifact cannot be used: {error}") from error

    def applied(self, scores: Floats, part: Partition) -> Floats:
        """Scores of which `threshold` is a yes for every group; within a group their order stays.

        Args:
            scores: Shape (n,).
            part: The group of each.
        """
        own = np.array([self.thresholds.get(name, self.threshold) for name in (*part.names, "")])[part.codes]
        if not self.chances:
            shifted: Floats = scores + (self.threshold - own)
            return shifted
        low, high = np.clip(own, 1e-9, 1.0 - 1e-9), np.clip(self.threshold, 1e-9, 1.0 - 1e-9)
        moved = np.where(
            scores < own, scores * high / low, high + (scores - own) * (1.0 - high) / (1.0 - low)
        )
        within: Floats = np.clip(moved, 0.0, 1.0)
        return within


class GroupThresholdPredictor:
    """Answers what another predictor does, with the thresholds of the groups applied.

    Args:
        predictor: Of the version that is mitigated.
        thresholds: Fitted on a validation split.
    """

    def __init__(self, predictor: Predictor, thresholds: GroupThresholds) -> None:
        self._predictor, self._thresholds = predictor, thresholds

    def predict(self, requests: pd.DataFrame) -> pd.DataFrame:
        """As `Predictor.predict`; requests must bring the columns that name the group.

        Raises:
            InvalidInputError: One is missing.
        """
        missing = [name for name in self._thresholds.attributes if name not in requests]
        if missing:
            raise InvalidInputError(missing[0], "must be a column of the requests: thresholds depend on it")
        answers = self._predictor.predict(requests)
        part = _partition({name: _texts(requests[name]) for name in self._thresholds.attributes})
        scores = answers[SCORE_COLUMN].to_numpy(dtype=np.float64)
        return answers.assign(**{SCORE_COLUMN: self._thresholds.applied(scores, part)})


def with_group_thresholds(predictor: Predictor, artifact: Path) -> GroupThresholdPredictor:
    """For the ``predictor`` function of a mitigated version: wrap the one of the version before.

    Args:
        predictor: Loaded from the same artifact.
        artifact: Holds `THRESHOLDS_FILE`.

    Raises:
        ArtifactError: It does not.
    """
    return GroupThresholdPredictor(predictor, GroupThresholds.read(artifact / THRESHOLDS_FILE))


def _texts(column: Any) -> NDArray[np.object_]:
    texts: NDArray[np.object_] = column.astype(object).where(column.notna(), None).to_numpy()
    return np.array([None if text is None else str(text) for text in texts], dtype=object)


def _partition(columns: Mapping[str, NDArray[np.object_]]) -> Partition:
    names = tuple(columns)
    crossed = (names,) if len(names) > 1 else ()
    return list(partitions(columns, FairnessPolicy(attributes=names, intersections=crossed)))[-1]


@dataclass(frozen=True, slots=True)
class Mitigation:
    """Fitted thresholds beside the one threshold for all.

    Attributes:
        thresholds: To keep with the new version.
        before, after: accuracy, selection_rate and largest_excess: the largest difference, in tolerances.
    """

    thresholds: GroupThresholds
    before: Mapping[str, float]
    after: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "attribute": AND.join(self.thresholds.attributes),
            "thresholds": self.thresholds.to_json(),
            "before": dict(self.before),
            "after": dict(self.after),
        }


def fit_group_thresholds(
    part: Partition,
    labels: Floats,
    scores: Floats,
    policy: FairnessPolicy,
    tolerances: Mapping[FairnessMetric, float],
    threshold: float,
) -> Mitigation | None:
    """Fit on a validation split.

    Args:
        part: Group of each row.
        labels: Shape (rows,), 0 or 1.
        scores: Shape (rows,).
        policy: Names the reference and the smallest group that is given a threshold of its own.
        tolerances: By rate; other metrics are left out.
        threshold: The one for all.

    Returns:
        None where no rate is compared, or fewer than two groups are large enough.
    """
    metrics = [metric for metric in tolerances if metric in _RATES]
    sizes = {
        name: int((part.codes == code).sum())
        for code, name in enumerate(part.names)
        if (part.codes == code).sum() >= policy.minimum_group_size
    }
    reference = reference_of(sizes, part.title, policy)
    if not metrics or reference is None or len(sizes) < 2:
        return None
    names = [reference, *(name for name in sizes if name != reference)]
    number = {name: code for code, name in enumerate(part.names)}
    cuts = np.unique(np.append(np.quantile(scores, np.linspace(0.0, 1.0, _CANDIDATES)), threshold))
    tables = [
        _Cuts(labels[part.codes == number[name]], scores[part.codes == number[name]], cuts) for name in names
    ]
    limits = np.array([tolerances[metric] for metric in metrics])
    rates = np.stack([np.stack([table.rates(metric) for metric in metrics], axis=1) for table in tables])
    if not np.isfinite(rates).all():
        return None
    # Shape (groups - 1, candidates of the reference, candidates of the group): in tolerances.
    excess = np.abs(rates[1:, None, :, :] - rates[0][None, :, None, :]) / limits
    worst = excess.max(axis=-1)
    right = np.stack([table.right for table in tables])
    chosen = np.where(worst <= _AIM, right[1:, None, :], -1.0 - worst).argmax(axis=2)
    reached = np.take_along_axis(worst, chosen[:, :, None], axis=2)[:, :, 0].max(axis=0)
    total = right[0] + np.take_along_axis(right[1:], chosen, axis=1).sum(axis=0)
    best = int(np.where(reached <= _AIM, total, -1.0 - reached).argmax())
    picked = [best, *chosen[:, best].tolist()]
    base = int(np.searchsorted(cuts, threshold))
    fitted = {name: float(cuts[place]) for name, place in zip(names, picked, strict=True)}
    return Mitigation(
        thresholds=GroupThresholds(
            attributes=part.attributes,
            threshold=float(threshold),
            thresholds=fitted,
            chances=bool(scores.min() >= 0.0 and scores.max() <= 1.0 and 0.0 < threshold < 1.0),
        ),
        before=_cost(tables, [base] * len(names), worst[:, base, base]),
        after=_cost(tables, picked, worst[np.arange(len(names) - 1), best, picked[1:]]),
    )


_RATES: Final = (FairnessMetric.SELECTION_RATE, FairnessMetric.TPR, FairnessMetric.FPR, FairnessMetric.FNR)


class _Cuts:
    """What every candidate threshold does to one group."""

    def __init__(self, labels: Floats, scores: Floats, cuts: Floats) -> None:
        positive = labels == 1.0
        self.rows = len(labels)
        self.positives = int(positive.sum())
        self.selected = self.rows - np.searchsorted(np.sort(scores), cuts, side="left")
        self.true = self.positives - np.searchsorted(np.sort(scores[positive]), cuts, side="left")
        self.right = (self.true + (self.rows - self.positives - (self.selected - self.true))).astype(float)

    def rates(self, metric: FairnessMetric) -> Floats:
        negatives = self.rows - self.positives
        top, bottom = {
            FairnessMetric.SELECTION_RATE: (self.selected, self.rows),
            FairnessMetric.TPR: (self.true, self.positives),
            FairnessMetric.FNR: (self.positives - self.true, self.positives),
            FairnessMetric.FPR: (self.selected - self.true, negatives),
        }[metric]
        return top / bottom if bottom else np.full(len(top), np.nan)


def _cost(tables: list[_Cuts], places: list[int], excess: Floats) -> dict[str, float]:
    rows = sum(table.rows for table in tables)
    pairs = list(zip(tables, places, strict=True))
    return {
        "accuracy": float(sum(table.right[place] for table, place in pairs) / rows),
        "selection_rate": float(sum(table.selected[place] for table, place in pairs) / rows),
        "largest_excess": float(excess.max()),
    }
