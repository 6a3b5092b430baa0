"""The skew gate: what a version is served is what it was trained with.

Two questions. *Features*: for the same entities and times, are the values that serving had the ones that
training computes? A column passes where the upper confidence bound of its share of differing values is within
the limit, and all columns must (an intersection-union test needs no correction: Berger 1982); it fails where
the lower bound is beyond the limit, at a level divided among the columns (Bonferroni), so that a column that
differs by chance does not block. *The metric, replayed*: over logged requests whose outcome is known, what
does the candidate lose when it is given the features as served instead of the same as trained? Without skew
the two answers are the same and the loss is nothing; what it loses is due to skew alone.

For answers that are one number the replayed metric is also held against the offline claim: a claim that
logged traffic disproves fails, whatever made it too good. For lists of items it is shown and not judged: only
what was shown can be taken up, so a logged outcome depends on the version that served.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Any, Final

from streamrec.contracts.intervals import Interval
from streamrec.contracts.results import Reason, Result
from streamrec.contracts.specification.gate_names import GateName
from streamrec.contracts.specification.quality_policy import QualityMetric, SkewPolicy
from streamrec.gates.gate_results import gate_result, reason
from streamrec.gates.skew.features import ColumnSkew, rows_to_pass
from streamrec.stats.clustered import ClusteredEstimate, independent_difference, units_needed

WORST_NAMED: Final = 5
"""Columns that a reason is written for; the evidence holds all."""

_POWER: Final = 0.95


class ServedFrom(StrEnum):
    """Where the features as served come from."""

    LOG = "prediction_log"
    """What models were given, as the event log keeps it of a sample of the requests."""
    ONLINE_STORE = "online_store"
    """What the store would give now; where no traffic is logged."""
    REQUESTS = "requests"
    """Requests bring all features: there is no second way by which they are computed."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The metric over logged requests whose outcome is known.

    Attributes:
        metric: Which figure.
        at: Positions that it looks at; None where answers are single numbers.
        requests: Logged requests.
        as_served: With the features that serving had.
        as_trained: Over the same requests, with the features that training computes.
        claimed: Over the evaluation data; None where it could not be measured.
    """

    metric: QualityMetric
    at: int | None
    requests: int
    as_served: ClusteredEstimate
    as_trained: ClusteredEstimate
    claimed: ClusteredEstimate | None

    @property
    def units(self) -> int:
        """Units that the requests are of."""
        return self.as_served.errors.size


@dataclass(frozen=True, slots=True)
class SkewEvidence:
    """What was found.

    Attributes:
        subject: The candidate, ``NAME@VERSION``.
        served_from: Where the served features come from.
        columns: One for each feature, most mismatches first; empty where requests bring all features.
        logged_requests: Requests of the slot that the event log holds with their features.
        replay: The metric over them; None where too few have a known outcome.
        problem: Why the features could not be compared; None where they were.
    """

    subject: str
    served_from: ServedFrom
    columns: tuple[ColumnSkew, ...]
    logged_requests: int = 0
    replay: Replay | None = None
    problem: Reason | None = None


def judge_skew(evidence: SkewEvidence, policy: SkewPolicy) -> Result:
    """Decide; pure. The result says where features alone were compared."""
    failed = [*_failed_columns(evidence, policy)]
    undecided = [] if evidence.problem is None else [evidence.problem]
    if not failed:
        undecided += _undecided_columns(evidence, policy)
    noted: list[Reason] = []
    if evidence.replay is not None:
        lost, open_question = _judge_loss(evidence.replay, policy)
        failed += lost
        undecided += open_question
        failed += _judge_claim(evidence.replay, policy)
    else:
        noted.append(_features_alone(evidence))
    return gate_result(
        GateName.SKEW,
        evidence.subject,
        _content(evidence, policy),
        failed=failed,
        inconclusive=undecided,
        noted=noted,
    )


def _failed_columns(evidence: SkewEvidence, policy: SkewPolicy) -> Iterator[Reason]:
    # Divided among the columns: with many of them one differs by chance.
    confidence = 1.0 - (1.0 - policy.confidence) / max(len(evidence.columns), 1)
    bad = [
        column
        for column in evidence.columns
        if column.missing_in is not None
        or (
            column.rows >= policy.minimum_rows
            and column.bound(confidence, upper=False) > policy.differing_share
        )
    ]
    for column in bad[:WORST_NAMED]:
        if column.missing_in is not None:
            yield reason(
                "feature_missing",
                f"features.{column.column}",
                f"the {column.missing_in} features have no {column.column!r}: publish it under the name and "
                "type that training reads, or train without it",
            )
            continue
        yield reason(
            "feature_skew",
            f"features.{column.column}",
            f"{column.column!r} differs in {column.mismatches:,} of {column.rows:,} rows "
            f"({column.share:.1%}, at most {policy.differing_share:.1%} may): {column.example}. Compute it "
            "by one definition for training and serving, or materialise again",
        )
    if len(bad) > WORST_NAMED:
        yield reason("feature_skew", "features", f"{len(bad) - WORST_NAMED} more features differ")


def _undecided_columns(evidence: SkewEvidence, policy: SkewPolicy) -> Iterator[Reason]:
    still_open = [
        column
        for column in evidence.columns
        if column.rows < policy.minimum_rows
        or column.bound(policy.confidence, upper=True) > policy.differing_share
    ]
    for column in still_open[:WORST_NAMED]:
        yield reason(
            "too_few_rows",
            f"features.{column.column}",
            f"{column.column!r} differs in {column.mismatches:,} of {column.rows:,} rows, which does not "
            f"show that at most {policy.differing_share:.1%} do: {_rows_needed(column, policy)}",
        )


def _rows_needed(column: ColumnSkew, policy: SkewPolicy) -> str:
    limit, share = policy.differing_share, column.share
    if share >= limit > 0.0 or (limit == 0.0 and share > 0.0):
        return "find out why it differs; more rows like these would not pass"
    if limit == 0.0:
        return "a limit of 0 cannot be shown: give skew.differing_share a value"
    needed = max(rows_to_pass(limit, policy.confidence), policy.minimum_rows)
    if share > 0.0:
        deviation = (share * (1.0 - share)) ** 0.5
        needed = max(
            needed, units_needed(deviation, limit - share, confidence=policy.confidence, power=_POWER)
        )
    return f"{needed:,} rows would decide it"


def _judge_loss(replay: Replay, policy: SkewPolicy) -> tuple[list[Reason], list[Reason]]:
    """What is lost to skew: paired, over the same requests."""
    level = max(2.0 * policy.confidence - 1.0, 1e-9)
    loss, allowed = _loss(replay.metric, replay.as_trained, replay.as_served, policy.metric_loss)
    bound = allowed.interval(level)
    shown = (
        f"over {replay.requests:,} logged requests {_name(replay)} is {replay.as_served.value:.4g} with the "
        f"features as served and {replay.as_trained.value:.4g} with the same as trained: a loss of "
        f"{_share(loss, replay.as_trained.value)}, where {policy.metric_loss:.0%} is allowed"
    )
    if bound.high < 0.0:
        return [
            reason(
                "metric_lost_to_skew",
                "skew.metric_loss",
                f"{shown}. The features named here, or in the evidence, are what differs: mend these first",
            )
        ], []
    if bound.low >= 0.0:
        return [], []
    needed = ""
    if allowed.value > 0.0 and allowed.deviation > 0.0:
        units = units_needed(allowed.deviation, allowed.value, confidence=policy.confidence, power=_POWER)
        needed = f"; {ceil(units):,} units would decide it"
    return [], [reason("too_few_outcomes", "skew.metric_loss", f"{shown}: not decided{needed}")]


def _judge_claim(replay: Replay, policy: SkewPolicy) -> list[Reason]:
    """Whether logged traffic disproves what the evaluation data say."""
    if replay.claimed is None or replay.at is not None:
        return []
    loss = claim_loss(replay, policy)
    allowed = policy.metric_loss * abs(replay.claimed.value)
    if loss.low <= allowed:
        return []
    return [
        reason(
            "claim_not_reached",
            "evaluation",
            f"{_name(replay)} is {replay.claimed.value:.4g} over the evaluation data and "
            f"{replay.as_served.value:.4g} over {replay.requests:,} logged requests: less by "
            f"{_share(loss.value, replay.claimed.value)} and by {loss.low:.4g} at least, where "
            f"{policy.metric_loss:.0%} is allowed. Evaluate on data that it was not trained on and that "
            "looks like what is served",
        )
    ]


def claim_loss(replay: Replay, policy: SkewPolicy) -> Interval:
    """By how much logged traffic falls short of the claim; positive is worse. The claim must be known."""
    if replay.claimed is None:
        raise ValueError("there is no claim")
    first, second = replay.claimed, replay.as_served
    if not replay.metric.larger_is_better:
        first, second = second, first
    level = max(2.0 * policy.confidence - 1.0, 1e-9)
    return independent_difference(first, second, confidence=level)


def _loss(
    metric: QualityMetric, trained: ClusteredEstimate, served: ClusteredEstimate, share: float
) -> tuple[float, ClusteredEstimate]:
    """The loss, and what of the allowed one is left: positive where less is lost than may be."""
    sign = 1.0 if metric.larger_is_better else -1.0
    allowed = share * (1.0 if trained.value >= 0.0 else -1.0)
    left = ClusteredEstimate(
        sign * (served.value - trained.value) + allowed * trained.value,
        sign * (served.errors - trained.errors) + allowed * trained.errors,
    )
    return sign * (trained.value - served.value), left


def _features_alone(evidence: SkewEvidence) -> Reason:
    if evidence.served_from is ServedFrom.REQUESTS:
        return reason(
            "features_in_requests",
            "feature_service",
            "requests bring all features and no outcome is logged yet: there is nothing to compare",
        )
    return reason(
        "features_alone",
        "skew",
        f"judged by features alone: of {evidence.logged_requests:,} logged requests of the slot too few have "
        "features and a known outcome to replay the metric",
    )


def _content(evidence: SkewEvidence, policy: SkewPolicy) -> dict[str, Any]:
    replay = evidence.replay
    return {
        "served_from": evidence.served_from.value,
        "logged_requests": evidence.logged_requests,
        "features": [column.to_json(policy.confidence) for column in evidence.columns],
        "replay": None if replay is None else _replay_json(replay, policy),
        "differing_share": policy.differing_share,
        "metric_loss": policy.metric_loss,
        "confidence": policy.confidence,
    }


def _replay_json(replay: Replay, policy: SkewPolicy) -> dict[str, Any]:
    level = max(2.0 * policy.confidence - 1.0, 1e-9)
    return {
        "metric": replay.metric.value,
        "at": replay.at,
        "requests": replay.requests,
        "units": replay.units,
        "as_served": replay.as_served.interval(level).to_json(),
        "as_trained": replay.as_trained.interval(level).to_json(),
        "lost": (replay.as_trained - replay.as_served).interval(level).to_json(),
        "claimed": None if replay.claimed is None else replay.claimed.interval(level).to_json(),
        "below_claim": None if replay.claimed is None else claim_loss(replay, policy).to_json(),
        "claim_judged": replay.at is None,
    }


def _name(replay: Replay) -> str:
    return replay.metric.value if replay.at is None else f"{replay.metric.value}@{replay.at}"


def _share(loss: float, of: float) -> str:
    return f"{loss / abs(of):.1%}" if of else f"{loss:.4g}"
