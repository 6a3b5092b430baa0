"""The outcome metric: harm at every look, non-inferiority once."""

from __future__ import annotations

from typing import Final

from streamrec.contracts.results import Verdict
from streamrec.contracts.rollouts.evidence import RolloutEvidence, SlotEvidence, StepEvidence, UnitSums
from streamrec.contracts.rollouts.state import Move, RolloutPhase, RolloutState
from streamrec.contracts.specification.rollout_plan import RolloutPlan
from streamrec.rollout.analysis.budget import threshold
from streamrec.rollout.analysis.findings import ComparedWith, Criterion, Finding
from streamrec.rollout.analysis.numbers import as_e_value
from streamrec.stats.clustered_ratios import RatioMoments
from streamrec.stats.non_inferiority import NonInferiority, non_inferiority
from streamrec.stats.sequential_means import log_evidence_of_gain, pooled_score

LOSS_SCALE: Final = 0.05
"""The loss that the harm test is tuned to, as a share of the metric's value; others are found a bit later."""

Arms = tuple[RatioMoments, RatioMoments]
"""Of challenger and reference."""


def outcome_arms(plan: RolloutPlan, evidence: SlotEvidence, *, watch: bool) -> tuple[Arms, ...]:
    """Outcomes of both arms in each step, and in the watch where it is asked for and has a holdback."""
    has_holdback = plan.holdback_bp > 0
    found = [
        arms for entry in evidence.steps if (arms := _step_arms(entry, has_holdback=has_holdback)) is not None
    ]
    if watch and evidence.watch is not None and has_holdback:
        own, other = evidence.watch.outcome_champion, evidence.watch.outcome_holdback
        if own is not None and other is not None:
            found.append((moments_of(own), moments_of(other)))
    return tuple(found)


def outcome_harm(state: RolloutState, move: Move, evidence: SlotEvidence) -> Finding | None:
    """Whether the metric is worse by more than chance; None where no outcome is compared in the slot."""
    if move.outcome_metric is None or move.champion is None:
        return None
    arms = outcome_arms(state.plan, evidence, watch=True)
    if not arms and state.phase in (RolloutPhase.PREPARING, RolloutPhase.SHADOW):
        return None
    limit = threshold(state, Criterion.OUTCOME, ComparedWith.CHAMPION)
    score = pooled_score(arms)
    both = [sum((pair[side] for pair in arms), RatioMoments()) for side in (0, 1)]
    verdict, e_value = Verdict.INCONCLUSIVE, 1.0
    if score is not None:
        sign = 1.0 if move.lower_is_better else -1.0
        e_value = as_e_value(float(log_evidence_of_gain(sign * score.score, score.information, LOSS_SCALE)))
        verdict = Verdict.FAILED if e_value >= limit else Verdict.PASSED
    return Finding(
        slot=move.slot,
        criterion=Criterion.OUTCOME,
        compared_with=ComparedWith.CHAMPION,
        verdict=verdict,
        challenger=both[0].ratio,
        reference=both[1].ratio,
        e_value=e_value,
        threshold=limit,
        samples=int(both[0].y),
    )


def non_inferiority_findings(
    state: RolloutState, evidence: RolloutEvidence, *, may_decide: bool
) -> list[Finding]:
    """Whether the metric of each slot is shown to be not worse by more than the margin.

    Args:
        state: The rollout.
        evidence: Of all slots.
        may_decide: Whether the step could end now but for this: the one look is taken only then, and only
            when enough is known of every slot.

    Returns:
        Empty where it is not due: before the last step but one has begun, or after it, or where the plan asks
        for no outcome.
    """
    if state.plan.outcome is None or not is_before_last(state):
        return []
    compared = [
        (move, compare_outcomes(state, move, evidence.slots.get(move.slot, SlotEvidence())))
        for move in state.moves
        if move.outcome_metric is not None and move.champion is not None
    ]
    decided = may_decide and all(found is not None and found.can_decide for _, found in compared)
    return [_non_inferiority_finding(move, found, decided=decided) for move, found in compared]


def is_before_last(state: RolloutState) -> bool:
    """Whether the step in force is the one whose end gives the challenger everything."""
    return state.phase is RolloutPhase.CANARY and state.step == len(state.plan.steps) - 2


def compare_outcomes(state: RolloutState, move: Move, evidence: SlotEvidence) -> NonInferiority | None:
    """The comparison that decides non-inferiority, pooled within the steps; None where nothing is known."""
    outcome = state.plan.outcome
    if outcome is None:
        return None
    return non_inferiority(
        outcome_arms(state.plan, evidence, watch=False),
        margin=outcome.margin,
        confidence=outcome.confidence,
        power=outcome.power,
        lower_is_better=move.lower_is_better,
    )


def _non_inferiority_finding(move: Move, found: NonInferiority | None, *, decided: bool) -> Finding:
    verdict = Verdict.INCONCLUSIVE
    if decided and found is not None:
        verdict = Verdict.PASSED if found.is_shown else Verdict.FAILED
    return Finding(
        slot=move.slot,
        criterion=Criterion.NON_INFERIORITY,
        compared_with=ComparedWith.CHAMPION,
        verdict=verdict,
        challenger=None if found is None else found.challenger,
        reference=None if found is None else found.reference,
        bound=None if found is None else found.bound,
        samples=0 if found is None else int(found.samples),
        samples_needed=None if found is None else found.samples_needed,
    )


def moments_of(sums: UnitSums) -> RatioMoments:
    """The same, to compute with."""
    return RatioMoments(sums.units, sums.x, sums.y, sums.xx, sums.xy, sums.yy)


def _step_arms(entry: StepEvidence, *, has_holdback: bool) -> Arms | None:
    if entry.outcome_challenger is None or entry.outcome_champion is None or entry.weight_bp == 0:
        return None
    reference = moments_of(entry.outcome_champion)
    if has_holdback and entry.outcome_holdback is not None:
        reference = reference + moments_of(entry.outcome_holdback)
    return moments_of(entry.outcome_challenger), reference
