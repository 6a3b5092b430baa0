"""Findings in words."""

from __future__ import annotations

from typing import Final

from streamrec.contracts.results import Reason, Verdict
from streamrec.contracts.rollouts.state import RolloutState
from streamrec.rollout.analysis.findings import ComparedWith, Criterion, Finding
from streamrec.rollout.analysis.numbers import percent

_WHAT: Final = {
    Criterion.WRONG: "requests that failed, were malformed or late",
    Criterion.SLOW: "answers slower than the latency limit",
    Criterion.DEGRADED: "degraded answers",
}
_REMEDY: Final = {
    Criterion.WRONG: "read the errors that its replicas log, mend it and deploy it again",
    Criterion.SLOW: "measure it with `streamrec models check`, make it faster and deploy it again",
    Criterion.DEGRADED: "see which fallback its requests took, mend it and deploy it again",
    Criterion.OUTCOME: "compare both versions' model cards, mend it and deploy it again",
}


def finding_reason(state: RolloutState, finding: Finding) -> Reason:
    """Why a finding fails, or is waited for."""
    path = f"slots.{finding.slot}.{finding.criterion.value}"
    move = next(move for move in state.moves if move.slot == finding.slot)
    if finding.criterion is Criterion.NON_INFERIORITY:
        return _non_inferiority(state, finding, path, str(move.challenger), str(move.champion))
    if finding.criterion is Criterion.OUTCOME:
        what = (
            f"{move.outcome_metric} of {finding.challenger or 0.0:.4g} beside {finding.reference or 0.0:.4g}"
        )
    else:
        what = f"{percent(finding.challenger)} of {finding.samples:,}: {_WHAT[finding.criterion]}"
    beside = (
        f"the limit of {percent(finding.reference)}"
        if finding.compared_with is ComparedWith.LIMIT
        else f"{percent(finding.reference)} of {move.champion}"
    )
    against = "" if finding.criterion is Criterion.OUTCOME else f", where {beside} is what it is held against"
    return Reason(
        f"harm_{finding.criterion.value}",
        path,
        f"{move.challenger} has {what}{against}; the evidence for harm is {finding.e_value:.3g} and "
        f"{finding.threshold:.3g} is enough: {_REMEDY[finding.criterion]}",
    )


def _non_inferiority(
    state: RolloutState, finding: Finding, path: str, challenger: str, champion: str
) -> Reason:
    outcome = state.plan.outcome
    margin = outcome.margin if outcome is not None else 0.0
    if finding.verdict is Verdict.FAILED:
        return Reason(
            "non_inferiority_not_shown",
            path,
            f"{challenger} gains at least {percent(finding.bound)} on {champion} where -{percent(margin)} "
            "would do: it may be worse by more than the margin, and the planned sample is used up; mend it, "
            "or deploy it again with a wider margin that somebody answers for",
        )
    if finding.samples_needed is None:
        told = "no outcome is known of enough units yet"
    elif finding.samples < finding.samples_needed:
        told = f"{finding.samples:,} of about {finding.samples_needed:,} samples are there"
    else:
        told = "it is decided when the step could end"
    return Reason(
        "non_inferiority_open", path, f"whether {challenger} is as good as {champion} is not decided: {told}"
    )
