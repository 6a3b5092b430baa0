"""The validation gate: what a version is judged on is not what it was trained on, and comes later.

Nobody is believed about it. The rows that a version was trained on are found in two places: the training rows
that its artifact carries (`streamrec.training.training_rows`), and the rows of the split ``train`` that its
evaluation data holds. Every validation row is looked for in both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pandas as pd

from streamrec.contracts.errors import ArtifactError
from streamrec.contracts.results import Reason, Result
from streamrec.contracts.specification.gate_names import GateName
from streamrec.contracts.specification.model_specification import Evaluation, TimeOrder
from streamrec.gates.checks.row_overlap import Repetition, event_rows, repetition, seconds_of
from streamrec.gates.contenders import Contender
from streamrec.gates.gate_results import gate_result, reason
from streamrec.gates.request_table import RequestTable
from streamrec.training.training_rows import TrainingRows, text_fingerprints

_TOO_MANY_MORE: Final = 0.01
"""Repetitions beyond what chance gives, as a share of the rows, that are not looked over."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """What training and validation have in common, by one source of what was trained on.

    Attributes:
        training_rows: Rows that it was trained on.
        looked_for: Validation rows that could be found, were they there: all, or a sample of large data.
        shared: Those that are there: the same unit, item or label, and time.
        first_shared: Request id of one of them; empty where there is none.
        early: Validation rows that are older than training, by the specification's order.
        first_early: Request id of one of them.
        training_ends: Newest row of training, in seconds since 1970.
    """

    training_rows: int
    looked_for: int
    shared: int
    first_shared: str
    early: int
    first_early: str
    training_ends: int


@dataclass(frozen=True, slots=True)
class ValidationEvidence:
    """What was found.

    Attributes:
        subject: The version.
        validation_rows: Rows that it is judged on.
        validation_begins: Oldest of them, in seconds since 1970; None where there is none.
        before_validation_from: Rows of validation before the specification's own ``validation_from``.
        in_artifact: By the training rows that the artifact carries; None where it has none.
        in_data: By the rows of training that the evaluation data holds; None where it holds none.
        repeated: Rows that say the same as rows of training; None where that cannot be told.
        problem: Why the artifact's training rows cannot be read; empty where they can.
    """

    subject: str
    validation_rows: int
    validation_begins: int | None
    before_validation_from: int = 0
    in_artifact: Overlap | None = None
    in_data: Overlap | None = None
    repeated: Repetition | None = None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "validation_rows": self.validation_rows,
            "validation_begins": _time_text(self.validation_begins),
            "before_validation_from": self.before_validation_from,
            "training_rows_in_artifact": _overlap_json(self.in_artifact),
            "training_rows_in_data": _overlap_json(self.in_data),
            "repeated": None
            if self.repeated is None
            else {**asdict(self.repeated), "share": self.repeated.share},
        }


def judge_validation(evidence: ValidationEvidence, rules: Evaluation) -> Result:
    """Decide; pure."""
    return gate_result(
        GateName.VALIDATION,
        evidence.subject,
        {**evidence.to_json(), "order": rules.order.value},
        failed=_failed(evidence, rules),
        inconclusive=_inconclusive(evidence),
    )


def collect_validation(
    contender: Contender, table: RequestTable, training: pd.DataFrame | None = None
) -> ValidationEvidence:
    """Look for every validation row in what the version was trained on.

    Args:
        contender: The version; its artifact may carry training rows.
        table: The evaluation data.
        training: Further rows that it was trained on, out of a file of its own, checked as a table's.
    """
    rules, validation = contender.specification.evaluation, table.validation
    listed = table.task.answers_items
    known = table.training if training is None else pd.concat([table.training, training], ignore_index=True)
    problem, carried = "", None
    try:
        carried = TrainingRows.read(contender.artifact)
    except ArtifactError as error:
        problem = str(error)
    begins = None if len(validation) == 0 else int(seconds_of(validation).min())
    early = 0 if rules.validation_from is None else int((validation["at"] < rules.validation_from).sum())
    in_data = None
    if len(known):
        fingerprints, of_row = event_rows(known, listed=listed)
        if len(fingerprints):
            # Whatever is in the file is looked at whole: no sample.
            rows = _rows_of(known, fingerprints, of_row)
            in_data = _overlap(rows, validation, listed=listed, order=rules.order)
    return ValidationEvidence(
        subject=contender.subject,
        validation_rows=len(validation),
        validation_begins=begins,
        before_validation_from=early,
        in_artifact=None
        if carried is None
        else _overlap(carried, validation, listed=listed, order=rules.order),
        in_data=in_data,
        repeated=repetition(known, validation) if len(known) else None,
        problem=problem,
    )


def _rows_of(frame: pd.DataFrame, fingerprints: Any, of_row: Any) -> TrainingRows:
    units = text_fingerprints(frame["unit"].to_numpy(dtype=object))
    seconds = seconds_of(frame)
    newest = pd.Series(seconds).groupby(units).max().sort_index()
    return TrainingRows(
        rows=np.unique(fingerprints),
        row_step=1,
        units=newest.index.to_numpy().astype(np.uint64),
        unit_step=1,
        last_s=newest.to_numpy(),
        latest_s=int(seconds.max()),
        count=len(set(of_row.tolist())),
    )


def _overlap(trained: TrainingRows, validation: pd.DataFrame, *, listed: bool, order: TimeOrder) -> Overlap:
    fingerprints, of_row = event_rows(validation, listed=listed)
    looked_for = trained.looked_for(fingerprints)
    shared = np.unique(of_row[looked_for & trained.found(fingerprints)])
    seconds = seconds_of(validation)
    if order is TimeOrder.TIME:
        newest = np.full(len(seconds), trained.latest_s)
    else:
        newest = trained.newest_of(text_fingerprints(validation["unit"].to_numpy(dtype=object)))
    early = np.flatnonzero(newest > seconds)
    ids = validation["request_id"].to_numpy(dtype=object)
    return Overlap(
        training_rows=trained.count,
        looked_for=len(np.unique(of_row[looked_for])),
        shared=len(shared),
        first_shared=str(ids[shared[0]]) if len(shared) else "",
        early=len(early),
        first_early=str(ids[early[0]]) if len(early) else "",
        training_ends=trained.latest_s,
    )


def _failed(evidence: ValidationEvidence, rules: Evaluation) -> Iterator[Reason]:
    for place, overlap in (
        ("the training rows in its artifact", evidence.in_artifact),
        ("the training rows of its evaluation data", evidence.in_data),
    ):
        if overlap is None:
            continue
        if overlap.shared:
            yield reason(
                "evaluated_on_training_data",
                "evaluation.requests",
                f"{overlap.shared} of {overlap.looked_for} validation rows that were looked for are in "
                f"{place}, such as {overlap.first_shared}: it was trained on what it is judged on. Train it "
                "without them, or judge it on later data",
            )
        if overlap.early:
            than = "all of training" if rules.order is TimeOrder.TIME else "training of their unit"
            yield reason(
                "not_in_time_order",
                "evaluation.requests",
                f"{overlap.early} of {evidence.validation_rows} validation rows, such as "
                f"{overlap.first_early}, are not later than {than}, by {place}: the future was known. "
                "Split by time; where each unit's last rows are held out, say so by evaluation.order: unit",
            )
    found = evidence.repeated
    if found is not None and found.low > found.expected_high + _TOO_MANY_MORE:
        yield reason(
            "training_rows_repeated",
            "evaluation.requests",
            f"{found.share:.1%} of the validation rows say exactly what a row of training says, where chance "
            f"gives {found.expected:.1%}: the same rows under other ids or times. Take them out of training",
        )
    if evidence.before_validation_from:
        yield reason(
            "before_validation",
            "evaluation.validation_from",
            f"{evidence.before_validation_from} validation rows are older than that; mend the split",
        )
    if evidence.problem:
        yield reason("training_rows_damaged", "artifact", evidence.problem)


def _inconclusive(evidence: ValidationEvidence) -> Iterator[Reason]:
    if evidence.validation_rows == 0:
        yield reason(
            "no_validation_rows",
            "evaluation.requests",
            "no row of the table has the split validation: hold rows out that no version is trained on",
        )
    if evidence.in_artifact is None and evidence.in_data is None:
        yield reason(
            "training_rows_unknown",
            "evaluation",
            "nobody can tell what the version was trained on: let training write training_rows.npz into the "
            "artifact (streamrec.training.training_rows), name the rows by evaluation.training_rows, or keep "
            "them in the table with the split train",
        )
    elif (
        evidence.validation_rows
        and max(
            overlap.looked_for for overlap in (evidence.in_artifact, evidence.in_data) if overlap is not None
        )
        == 0
    ):
        yield reason(
            "no_row_looked_for",
            "evaluation.requests",
            "no validation row is in the sample of rows that the artifact keeps: take more of them",
        )


def _overlap_json(overlap: Overlap | None) -> dict[str, Any] | None:
    if overlap is None:
        return None
    return {**asdict(overlap), "training_ends": _time_text(overlap.training_ends)}


def _time_text(seconds: int | None) -> str | None:
    return (
        None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    )
