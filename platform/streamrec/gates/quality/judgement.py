"""The quality gate: not worse than the champion by more than the margin, shown on a confidence bound.

Candidate and champion answer the same requests. What decides is the slack, by which the candidate stays above
what the margin allows:

    slack = (candidate - champion) * sign + margin * |champion|       sign: 1, or -1 where smaller is better

Its error comes from the differences within units (`streamrec.stats.clustered`), and the margin of a measured
champion is as uncertain as the champion is. Non-inferiority is claimed where the one-sided lower bound of the
slack is not below zero (ICH E9, sec. 3.3.2; Wellek 2010, ch. 2): the chance to pass a candidate that is worse
by the margin or more is then at most ``1 - confidence`` (`tests/simulation/test_quality_gate.py`). With
enough units for a candidate that is as good as the champion to pass with the chance `POWER`, one that does
not pass has failed; with fewer, nothing is decided unless the whole interval lies on one side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from streamrec.contracts.intervals import Interval, interval_json
from streamrec.contracts.results import Reason, Result, Verdict
from streamrec.contracts.specification.gate_names import GateName
from streamrec.contracts.specification.quality_policy import QualityMetric, QualityPolicy
from streamrec.gates.gate_results import gate_result, reason
from streamrec.stats.clustered import ClusteredEstimate, units_needed

POWER: Final = 0.95
"""Chance to pass, at `QualityEvidence.units_needed`, of a candidate that is just as good as the champion."""

_FEWEST_UNITS_TOLD: Final = 2


@dataclass(frozen=True, slots=True)
class QualityEvidence:
    """What was measured.

    Attributes:
        subject: The candidate, ``NAME@VERSION``.
        metric: Which figure.
        at: Positions that it looks at; None where answers are single numbers.
        requests: Requests that both answered.
        units: Units that these are of.
        candidate: Its figure; None where it has none (`problem`).
        champion: That of the version that serves, over the same requests; None where none does.
        champion_ref: Which version that is.
        problem: Why there is no figure; None where there is one.
    """

    subject: str
    metric: QualityMetric
    at: int | None
    requests: int
    units: int
    candidate: ClusteredEstimate | None
    champion: ClusteredEstimate | None = None
    champion_ref: str | None = None
    problem: Reason | None = None


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The slack to what is demanded, and what it takes to decide.

    Attributes:
        slack: Positive where the candidate is good enough.
        distance: Expected slack of a candidate that ought to pass; 0 where there is no room for one.
    """

    slack: ClusteredEstimate
    distance: float


def judge_quality(evidence: QualityEvidence, policy: QualityPolicy) -> Result:
    """Decide; pure.

    Without a champion the candidate is held against the absolute floor, and the result says so. With one, a
    candidate that is shown to lie below the floor fails too: margins must not add up to a fall, version after
    version.
    """
    candidate = evidence.candidate
    if evidence.problem is not None or candidate is None:
        found = evidence.problem or reason(
            "no_predictions", "predictions", "the candidate answered no request of the validation split"
        )
        return _result(evidence, policy, Verdict.FAILED, found, None, None)
    if evidence.champion is None:
        return _against_floor(evidence, policy, candidate)
    return _against_champion(evidence, policy, candidate, evidence.champion)


def _against_champion(
    evidence: QualityEvidence,
    policy: QualityPolicy,
    candidate: ClusteredEstimate,
    champion: ClusteredEstimate,
) -> Result:
    comparison = slack_to_champion(evidence.metric, candidate, champion, policy.margin)
    bound = comparison.slack.interval(_two_sided(policy.confidence))
    needed = _units_needed(comparison, policy)
    name, sign = _name(evidence), 1.0 if evidence.metric.larger_is_better else -1.0
    difference = (candidate - champion).interval(_two_sided(policy.confidence))
    least_gain = difference.low if sign > 0 else -difference.high
    shown = (
        f"{name} is {candidate.value:.4g} where {evidence.champion_ref} has {champion.value:.4g}: a "
        f"gain of {sign * difference.value:+.4g}, at least {least_gain:+.4g} with {policy.confidence:.0%} "
        f"confidence; the margin allows {-policy.margin * abs(champion.value):+.4g}"
    )
    floor = _below_floor(evidence, policy, candidate)
    if floor is not None:
        return _result(evidence, policy, Verdict.FAILED, floor, bound, needed)
    if evidence.units < policy.minimum_units:
        return _too_few(evidence, policy, bound, max(needed, policy.minimum_units), shown)
    if bound.low >= 0.0:
        return _result(evidence, policy, Verdict.PASSED, None, bound, needed)
    if bound.high < 0.0 or evidence.units >= needed:
        worse = reason(
            "worse_than_champion",
            "quality.margin",
            f"{shown}. Compare the two versions' model cards, mend the candidate and deploy it again",
        )
        return _result(evidence, policy, Verdict.FAILED, worse, bound, needed)
    return _too_few(evidence, policy, bound, needed, shown)


def _against_floor(evidence: QualityEvidence, policy: QualityPolicy, candidate: ClusteredEstimate) -> Result:
    name = _name(evidence)
    if policy.floor is None:
        missing = reason(
            "no_champion_and_no_floor",
            "quality.floor",
            f"nothing serves in the slot to compare with, and the specification names no floor for {name}, "
            f"which is {candidate.value:.4g}: name in quality.floor what a first version must reach",
        )
        return _result(evidence, policy, Verdict.INCONCLUSIVE, missing, None, None)
    sign = 1.0 if evidence.metric.larger_is_better else -1.0
    slack = ClusteredEstimate(sign * (candidate.value - policy.floor), sign * candidate.errors)
    comparison = _Comparison(slack, abs(slack.value))
    bound, needed = slack.interval(_two_sided(policy.confidence)), _units_needed(comparison, policy)
    measured = candidate.interval(_two_sided(policy.confidence))
    shown = (
        f"there is no champion yet: {name} is {candidate.value:.4g} (from {measured.low:.4g} to "
        f"{measured.high:.4g}) and is held against the floor of {policy.floor:.4g}"
    )
    floor = _below_floor(evidence, policy, candidate)
    if floor is not None:
        return _result(evidence, policy, Verdict.FAILED, floor, bound, needed)
    if evidence.units < policy.minimum_units or bound.low < 0.0:
        return _too_few(evidence, policy, bound, max(needed, policy.minimum_units), shown)
    note = reason("judged_by_floor", "quality.floor", shown)
    return _result(evidence, policy, Verdict.PASSED, note, bound, needed)


def slack_to_champion(
    metric: QualityMetric, candidate: ClusteredEstimate, champion: ClusteredEstimate, margin: float
) -> _Comparison:
    """By how much the candidate stays above what the margin allows; see this module."""
    sign = 1.0 if metric.larger_is_better else -1.0
    allowed = margin * (1.0 if champion.value >= 0.0 else -1.0)
    slack = ClusteredEstimate(
        sign * (candidate.value - champion.value) + allowed * champion.value,
        sign * (candidate.errors - champion.errors) + allowed * champion.errors,
    )
    return _Comparison(slack, abs(allowed * champion.value))


def _units_needed(comparison: _Comparison, policy: QualityPolicy) -> int:
    """Units at which a candidate as good as it ought to be passes with the chance `POWER`."""
    deviation = comparison.slack.deviation
    if deviation == 0.0:
        return policy.minimum_units
    if comparison.distance == 0.0:
        return _NEVER
    needed = units_needed(deviation, comparison.distance, confidence=policy.confidence, power=POWER)
    return max(min(needed, _NEVER), policy.minimum_units)


_NEVER: Final = 10**12
"""So many units as can never come: a margin of 0 cannot be shown, however many there are."""


def _below_floor(
    evidence: QualityEvidence, policy: QualityPolicy, candidate: ClusteredEstimate
) -> Reason | None:
    """The candidate's whole interval lies on the wrong side of the floor."""
    if policy.floor is None or evidence.units < _FEWEST_UNITS_TOLD:
        return None
    measured = candidate.interval(_two_sided(policy.confidence))
    larger = evidence.metric.larger_is_better
    best = measured.high if larger else measured.low
    if (best >= policy.floor) if larger else (best <= policy.floor):
        return None
    return reason(
        "below_floor",
        "quality.floor",
        f"{_name(evidence)} is {candidate.value:.4g}, at {'most' if larger else 'least'} {best:.4g} with "
        f"{policy.confidence:.0%} confidence, and the floor is {policy.floor:.4g}: train a better version "
        "or have the floor reviewed",
    )


def _too_few(
    evidence: QualityEvidence, policy: QualityPolicy, bound: Interval, needed: int, shown: str
) -> Result:
    more = (
        f"{needed:,} units would decide it"
        if needed < _NEVER
        else "no number of units can show a margin of 0: give quality.margin a value"
    )
    few = reason("too_few_units", "evaluation", f"{shown}; {evidence.units:,} units do not decide it, {more}")
    return _result(evidence, policy, Verdict.INCONCLUSIVE, few, bound, needed)


def _result(
    evidence: QualityEvidence,
    policy: QualityPolicy,
    verdict: Verdict,
    found: Reason | None,
    slack: Interval | None,
    needed: int | None,
) -> Result:
    level = _two_sided(policy.confidence)
    candidate, champion = evidence.candidate, evidence.champion
    difference = None if candidate is None or champion is None else (candidate - champion).interval(level)
    content: dict[str, Any] = {
        "metric": evidence.metric.value,
        "at": evidence.at,
        "larger_is_better": evidence.metric.larger_is_better,
        "requests": evidence.requests,
        "units": evidence.units,
        "candidate": None if candidate is None else candidate.interval(level).to_json(),
        "champion": None if champion is None else champion.interval(level).to_json(),
        "champion_version": evidence.champion_ref,
        "difference": interval_json(difference),
        "slack": interval_json(slack),
        "margin": policy.margin,
        "floor": policy.floor,
        "confidence": policy.confidence,
        "units_needed": None if needed is None or needed >= _NEVER else needed,
    }
    reasons = () if found is None else (found,)
    return gate_result(
        GateName.QUALITY,
        evidence.subject,
        content,
        failed=reasons if verdict is Verdict.FAILED else (),
        inconclusive=reasons if verdict is Verdict.INCONCLUSIVE else (),
        noted=reasons if verdict is Verdict.PASSED else (),
    )


def _name(evidence: QualityEvidence) -> str:
    return evidence.metric.value if evidence.at is None else f"{evidence.metric.value}@{evidence.at}"


def _two_sided(confidence: float) -> float:
    """Level of the interval each of whose bounds is a one-sided one at ``confidence``."""
    return max(2.0 * confidence - 1.0, _NARROWEST)


_NARROWEST: Final = 1e-9
"""An interval has a level above 0; with this one it is the estimate itself."""
