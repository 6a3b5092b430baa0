"""Collecting what the quality gate decides by, out of two predictions tables."""

from __future__ import annotations

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.gates.gate_results import reason
from streamrec.gates.predictions import Predictions
from streamrec.gates.quality.judgement import QualityEvidence
from streamrec.gates.quality.metrics import metric_of_lists, metric_of_numbers
from streamrec.stats.clustered import ClusteredEstimate, Units


def estimate(predictions: Predictions, specification: ModelSpecification) -> ClusteredEstimate:
    """The specification's figure over a predictions table.

    Raises:
        InvalidInputError: Labels or scores do not allow the figure.
    """
    metric, policy = specification.quality_metric, specification.quality
    units = Units.named(predictions.units.tolist())
    if predictions.task.answers_items:
        answers, relevant = predictions.item_ids, predictions.relevant
        if answers is None or relevant is None:
            raise InvalidInputError("item_ids", f"must be there where the task is {predictions.task}")
        rows = range(len(predictions))
        return metric_of_lists(
            metric,
            [answers[row][: policy.at].tolist() for row in rows],
            [relevant[row].tolist() for row in rows],
            units,
            at=policy.at,
        )
    if predictions.labels is None or predictions.scores is None:
        raise InvalidInputError("score", f"must be there where the task is {predictions.task}")
    return metric_of_numbers(
        metric, predictions.labels, predictions.scores, units, threshold=policy.threshold
    )


def collect_quality(
    subject: str,
    specification: ModelSpecification,
    candidate: Predictions,
    champion: Predictions | None = None,
    champion_ref: str | None = None,
) -> QualityEvidence:
    """Measure both versions over the same requests.

    What is wrong with the candidate's answers is evidence too (`QualityEvidence.problem`).

    Args:
        subject: The candidate, ``NAME@VERSION``.
        specification: Its specification: the figure is chosen by it, for both.
        candidate: What it answered.
        champion: What the version that serves answered; None where none does.
        champion_ref: Which version that is.

    Raises:
        InvalidInputError: The two did not answer the same requests, or the champion's answers do not allow
            the figure.
    """
    metric = specification.quality_metric
    measured, problem = None, None
    try:
        measured = estimate(candidate, specification)
    except InvalidInputError as error:
        problem = reason("not_measurable", error.field, f"{metric} cannot be measured: {error.problem}")
    if champion is not None:
        candidate.paired_with(champion)
    return QualityEvidence(
        subject=subject,
        metric=metric,
        at=specification.quality.at if candidate.task.answers_items else None,
        requests=len(candidate),
        units=len(set(candidate.units.tolist())),
        candidate=measured,
        champion=None if champion is None else estimate(champion, specification),
        champion_ref=champion_ref,
        problem=problem,
    )
