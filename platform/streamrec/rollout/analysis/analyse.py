"""The analysis of a rollout at one look: valid however often it is taken, and with whatever comes of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from streamrec.contracts.results import Reason, Verdict
from streamrec.contracts.rollouts.evidence import RolloutEvidence, SlotEvidence, StepEvidence
from streamrec.contracts.rollouts.state import Move, RolloutPhase, RolloutState
from streamrec.contracts.units import BASIS_POINTS
from streamrec.rollout.analysis.budget import PARTS, phases_of, threshold
from streamrec.rollout.analysis.evidence_of_harm import (
    ROWS,
    limit_of,
    log_evidence_beside,
    log_evidence_over_limit,
)
from streamrec.rollout.analysis.findings import Analysis, ComparedWith, Criterion, Finding
from streamrec.rollout.analysis.impossible import impossible
from streamrec.rollout.analysis.numbers import as_e_value
from streamrec.rollout.analysis.outcomes import non_inferiority_findings, outcome_harm
from streamrec.rollout.analysis.reasons import finding_reason
from streamrec.rollout.analysis.windows import Windows, compared_windows, limited_windows

LEAST_SHADOW_SAMPLES: Final = 100
"""Answers without which a shadow does not end well, or the first step's samples where these are fewer."""


def analyse(
    state: RolloutState,
    evidence: RolloutEvidence,
    now: datetime,
    *,
    before: RolloutEvidence | None = None,
) -> Analysis:
    """Say what the evidence of a rollout shows; pure.

    *Harm* (the challenger is worse by more than chance) is looked at in every phase, by tests that hold at
    every look (`streamrec.stats.sequential_events`, `streamrec.stats.sequential_means`) and share the plan's
    error budget (`streamrec.rollout.analysis.budget`). *Non-inferiority* is decided once, before the last
    step, when nothing else keeps the step from ending and the planned amount is known; asked again later,
    with other evidence, it would be another test. So whoever asks acts on a decision at once.

    Args:
        state: Where the rollout stands.
        evidence: What was counted.
        now: The time of the look.
        before: Evidence of an earlier look, if at hand: counts that have become fewer are then refused too.

    Returns:
        Its verdict is ``passed`` only where the phase, or the step, may end well as far as the evidence goes:
        enough samples, no harm, non-inferiority shown where it is due. Times and pauses are not its affair,
        but for the one look.
    """
    refused = impossible(state, evidence, before)
    if refused:
        return Analysis(at=evidence.at, verdict=Verdict.ERROR, reasons=refused)
    findings: list[Finding] = []
    waits = _waits_of_plan(state, evidence)
    for move in state.moves:
        slot = evidence.slots.get(move.slot)
        if slot is None:
            waits.append(
                Reason("no_evidence", f"slots.{move.slot}", f"nothing is known of the slot {move.slot}")
            )
            continue
        findings += harm_findings(state, move, slot)
        waits += _waits(state, move, slot)
    may_decide = not waits and _step_could_end(state, now)
    findings += non_inferiority_findings(state, evidence, may_decide=may_decide)
    failed = [finding_reason(state, one) for one in findings if one.verdict is Verdict.FAILED]
    waits += [
        finding_reason(state, one)
        for one in findings
        if one.criterion is Criterion.NON_INFERIORITY and one.verdict is Verdict.INCONCLUSIVE
    ]
    verdict = Verdict.FAILED if failed else Verdict.INCONCLUSIVE if waits else Verdict.PASSED
    reasons = failed or waits
    return Analysis(at=evidence.at, verdict=verdict, reasons=tuple(reasons), findings=tuple(findings))


def harm_findings(state: RolloutState, move: Move, slot: SlotEvidence) -> list[Finding]:
    """All criteria of harm in one slot, as far as there is something to look at."""
    found = []
    beside, limited = compared_windows(move, state.plan, slot), limited_windows(move, state.plan, slot)
    for criterion in ROWS:
        if beside is not None:
            found.append(_event_finding(state, move, criterion, ComparedWith.CHAMPION, beside))
        if limited is not None:
            found.append(_event_finding(state, move, criterion, ComparedWith.LIMIT, limited))
    outcome = outcome_harm(state, move, slot)
    return found if outcome is None else [*found, outcome]


def _event_finding(
    state: RolloutState, move: Move, criterion: Criterion, compared_with: ComparedWith, windows: Windows
) -> Finding:
    events, trials = ROWS[criterion]
    part, phases = PARTS[criterion, compared_with], phases_of(state.plan)
    own = windows.challenger[trials].sum()
    rate = float(windows.challenger[events].sum() / own) if own > 0.0 else None
    if compared_with is ComparedWith.CHAMPION:
        others = windows.reference[trials].sum()
        reference = float(windows.reference[events].sum() / others) if others > 0.0 else None
        log_evidence = log_evidence_beside(criterion, windows, part, phases=phases)
    else:
        others, reference = own, limit_of(criterion, state.plan.limits)
        log_evidence = log_evidence_over_limit(criterion, windows, state.plan.limits, part, phases=phases)
    limit, e_value = threshold(state, criterion, compared_with), as_e_value(float(log_evidence))
    verdict = Verdict.FAILED if e_value >= limit else Verdict.PASSED
    if verdict is Verdict.PASSED and (own == 0.0 or others == 0.0):
        verdict = Verdict.INCONCLUSIVE
    return Finding(
        slot=move.slot,
        criterion=criterion,
        compared_with=compared_with,
        verdict=verdict,
        challenger=rate,
        reference=reference,
        e_value=e_value,
        threshold=limit,
        samples=int(own),
    )


def _waits_of_plan(state: RolloutState, evidence: RolloutEvidence) -> list[Reason]:
    """What keeps the whole rollout from going on, whatever is known of its slots."""
    waits = [
        Reason("evidence_missing", "missing", f"{what}: nothing goes on without it"[:1_000])
        for what in evidence.missing
    ]
    if state.plan.outcome is None or state.phase is not RolloutPhase.CANARY:
        return waits
    if all(move.outcome_metric is None for move in state.moves):
        waits.append(
            Reason(
                "no_outcome_metric",
                "plan.outcome",
                "the plan asks for an outcome and no specification names a metric: name one, or drop it",
            )
        )
    if len(state.plan.steps) == 1:
        waits.append(
            Reason(
                "nobody_to_compare_with",
                "plan.steps",
                "the plan asks for an outcome and has no step in which two versions answer: add a step",
            )
        )
    return waits


def _waits(state: RolloutState, move: Move, slot: SlotEvidence) -> list[Reason]:
    """What is still lacking in a slot before the phase, or the step, may end well."""
    path = f"slots.{move.slot}"
    if slot.problem:
        return [
            Reason("replica_problem", path, f"a replica says of {move.challenger}: {slot.problem}"[:1_000])
        ]
    if state.phase is RolloutPhase.PREPARING:
        if slot.loaded and slot.replicas > 0:
            return []
        heard = f"of {slot.replicas} replicas not all" if slot.replicas else "no replica"
        return [
            Reason("not_loaded", path, f"{heard} can answer with {move.challenger} yet; see their heartbeats")
        ]
    samples, needed = _samples(state, slot)
    if samples >= needed:
        return _waits_for_champion(state, move, slot)
    return [
        Reason(
            "too_few_samples",
            path,
            f"{move.challenger} was asked {samples:,} of {needed:,} times in this phase: without enough it "
            "holds, and ends at the deadline; give the step a larger share, fewer samples or more time",
        )
    ]


def _waits_for_champion(state: RolloutState, move: Move, slot: SlotEvidence) -> list[Reason]:
    if state.phase is not RolloutPhase.CANARY or state.weight_bp == BASIS_POINTS:
        return []
    entry = _entry(slot, state.weight_bp)
    if entry.champion.asked + (entry.holdback.asked if state.plan.holdback_bp else 0) > 0:
        return []
    return [
        Reason(
            "nobody_to_compare_with",
            f"slots.{move.slot}",
            f"{move.champion} was asked nothing in this step: see whether it serves",
        )
    ]


def _samples(state: RolloutState, slot: SlotEvidence) -> tuple[int, int]:
    """Requests of the challenger in the phase, and how many it takes."""
    steps = state.plan.steps
    if state.phase is RolloutPhase.SHADOW:
        return _entry(slot, 0).shadow.asked, min(steps[0].minimum_samples, LEAST_SHADOW_SAMPLES)
    if state.phase is RolloutPhase.CANARY:
        return _entry(slot, state.weight_bp).challenger.asked, steps[state.step].minimum_samples
    watched = slot.watch.champion.asked if slot.watch is not None else 0
    if state.fills_empty_slots or state.without_canary:
        return watched, steps[-1].minimum_samples
    # What the steps have shown counts; but that it serves at all must be seen.
    return watched, 1


def _entry(slot: SlotEvidence, weight_bp: int) -> StepEvidence:
    found = (entry for entry in slot.steps if entry.weight_bp == weight_bp)
    return next(found, StepEvidence(weight_bp=weight_bp))


def _step_could_end(state: RolloutState, now: datetime) -> bool:
    """Whether time and people would let the step end."""
    least = timedelta(minutes=state.plan.minimum_step_minutes)
    return not state.paused and now - state.phase_began_at >= least
