"""The fairness decision over collected evidence; pure.

Passed only if the whole interval of every required difference lies inside its tolerance; failed if one lies
outside; else inconclusive (`streamrec.stats.fairness_decision` says why that is right over all of them
together). An attribute or a group that is missing, or a group that is too small, is inconclusive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from streamrec.contracts.results import Reason, Result, Verdict
from streamrec.contracts.specification.gate_names import GateName
from streamrec.gates.fairness.differences import Difference, Undecided, decide
from streamrec.gates.fairness.evidence import FairnessEvidence
from streamrec.gates.gate_results import gate_result, reason

AUDIT_SCHEMA: Final = "streamrec.audit.v1"

NAMED: Final = 20
"""Differences of each kind that a reason is written for; the evidence holds all."""


@dataclass(frozen=True, slots=True)
class _Findings:
    failed: tuple[Reason, ...]
    inconclusive: tuple[Reason, ...]
    noted: tuple[Reason, ...]
    content: dict[str, Any]


def judge_fairness(evidence: FairnessEvidence) -> Result:
    """The gate's result."""
    found = _findings(evidence)
    return gate_result(
        GateName.FAIRNESS,
        evidence.subject,
        found.content,
        failed=found.failed,
        inconclusive=found.inconclusive,
        noted=found.noted,
    )


def judge_audit(evidence: FairnessEvidence) -> Result:
    """The same decision about something that was never registered, in the form of an audit."""
    found = _findings(evidence)
    reasons = (*found.failed, *found.inconclusive, *found.noted)
    verdict = (
        Verdict.FAILED if found.failed else Verdict.INCONCLUSIVE if found.inconclusive else Verdict.PASSED
    )
    return Result(AUDIT_SCHEMA, verdict, reasons, {"subject": evidence.subject, **found.content})


def _findings(evidence: FairnessEvidence) -> _Findings:
    differences = decide(evidence.comparisons, evidence.confidence)
    bad = [found for found in differences if found.verdict is Verdict.FAILED]
    unclear = [found for found in differences if found.verdict is Verdict.INCONCLUSIVE]
    bad.sort(key=lambda found: -abs(found.value or 0.0) / found.tolerance)
    inconclusive = (*evidence.problems, *_reasons(unclear, "undecided"))
    if not differences and not inconclusive:
        inconclusive = (reason("nothing_compared", "groups", "no two groups were compared"),)
    noted = evidence.notes
    if bad and evidence.mitigation is not None:
        noted = (*noted, _way_back(evidence.mitigation))
    content: dict[str, Any] = {
        "rows": evidence.rows,
        "threshold": evidence.threshold,
        "confidence": evidence.confidence,
        "tolerances": {metric.value: limit for metric, limit in evidence.metrics.items()},
        "groups": {name: dict(figures) for name, figures in evidence.groups.items()},
        "differences": [found.to_json() for found in differences],
    }
    if evidence.mitigation is not None:
        content["mitigation"] = dict(evidence.mitigation)
    return _Findings(_reasons(bad, "unfair"), inconclusive, noted, content)


def _reasons(differences: Sequence[Difference], code: str) -> tuple[Reason, ...]:
    named = tuple(
        reason(
            found.undecided.value if found.undecided else "too_few_rows" if code == "undecided" else code,
            f"differences.{found.metric}.{found.group}",
            _message(found),
        )
        for found in differences[:NAMED]
    )
    left = len(differences) - len(named)
    if left:
        named = (*named, reason(code, "differences", f"and {left} more differences; all are in the evidence"))
    return named


def _message(found: Difference) -> str:
    pair = f"{found.metric} of {found.group} against {found.reference}"
    if found.undecided is Undecided.GROUP_MISSING:
        return f"{pair}: nobody of the group is in the data; it takes {_rows(found)}"
    if found.undecided is Undecided.GROUP_TOO_SMALL:
        return f"{pair}: {found.rows:,} rows are too few to judge a group by; it takes {_rows(found)}"
    if found.value is None or found.low is None or found.high is None:
        return f"{pair}: no row of one of the two can be measured; it takes {_rows(found)}"
    shown = f"{pair}: {found.value:+.4f} (from {found.low:+.4f} to {found.high:+.4f})"
    if found.verdict is Verdict.FAILED:
        return f"{shown} lies outside the tolerance of {found.tolerance:g}"
    return f"{shown} is not decided against the tolerance of {found.tolerance:g}; it takes {_rows(found)}"


def _rows(found: Difference) -> str:
    if found.samples_needed is None:
        return "rows that can be measured"
    return f"{found.samples_needed:,} rows of each of the two groups"


def _way_back(mitigation: Mapping[str, Any]) -> Reason:
    before, after = mitigation["before"], mitigation["after"]
    return reason(
        "mitigation",
        "mitigation",
        f"thresholds by {mitigation['attribute']} would bring the largest difference from "
        f"{before['largest_excess']:.2f} to {after['largest_excess']:.2f} times its tolerance, at an "
        f"accuracy of {after['accuracy']:.4f} instead of {before['accuracy']:.4f}: register them as a new "
        "version and deploy that, or train a better one",
    )
