"""Rollouts in words and tables, for people. Pure: documents in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from services.cli.rollouts.seen import SeenRollout, SeenTransition
from streamrec.contracts.ledger_entry import EntryKind
from streamrec.contracts.rollouts.evidence import SlotEvidence, StepEvidence
from streamrec.contracts.rollouts.state import Move, RolloutPhase, RolloutState
from streamrec.contracts.rollouts.tallies import Answers
from streamrec.rollout.analysis import Criterion, Finding

if TYPE_CHECKING:
    from rich.console import RenderableType

LIST_COLUMNS: Final = ("rollout", "slots", "versions", "stands at", "since", "asked for by")
FINDING_COLUMNS: Final = (
    "slot",
    "criterion",
    "new version",
    "compared with",
    "evidence",
    "samples",
    "verdict",
)
ANSWER_COLUMNS: Final = ("slot", "who", "asked", "failed", "malformed", "late", "slow", "degraded")

_CRITERIA: Final = {
    Criterion.WRONG: "wrong answers",
    Criterion.SLOW: "slow answers",
    Criterion.DEGRADED: "degraded answers",
    Criterion.OUTCOME: "outcome: worse?",
    Criterion.NON_INFERIORITY: "outcome: as good?",
}

_KINDS: Final = {
    EntryKind.ROLLOUT_STARTED: "started",
    EntryKind.ROLLOUT_ADVANCED: "goes on",
    EntryKind.ROLLOUT_PAUSED: "paused",
    EntryKind.ROLLOUT_RESUMED: "resumed",
    EntryKind.ROLLOUT_RETRIED: "started, as another try",
    EntryKind.ROLLOUT_ABORTED: "aborted",
    EntryKind.ROLLOUT_ROLLED_BACK: "rolled back",
    EntryKind.ROLLOUT_COMPLETED: "completed",
    EntryKind.HOLDBACK_ENDED: "holdback ended",
}


def place_words(state: RolloutState) -> str:
    """Where a rollout stands: ``canary, step 2 of 5 (5 %)``."""
    words = state.phase.value.replace("_", " ")
    if state.phase is RolloutPhase.CANARY:
        words = f"canary, step {state.step + 1} of {len(state.plan.steps)} ({share_text(state.weight_bp)})"
    return f"{words}, paused" if state.paused else words


def share_text(share_bp: int) -> str:
    """A share in per cent: ``0.25 %``."""
    return f"{share_bp / 100:g} %"


def move_words(move: Move) -> str:
    """What happens in a slot: ``ads.clicks: ads-clicks@1 -> ads-clicks@2``."""
    return f"{move.slot}: {move.champion or 'nothing'} -> {move.challenger}"


def list_row(state: RolloutState) -> tuple[str, ...]:
    """One rollout as a row of `LIST_COLUMNS`."""
    return (
        state.rollout,
        ", ".join(state.slots),
        ", ".join(map(str, state.challengers)),
        place_words(state),
        f"{state.phase_began_at:%Y-%m-%d %H:%M}Z",
        state.by,
    )


def head_lines(state: RolloutState) -> list[str]:
    """What a rollout is and where it stands, a line each."""
    lines = [f"{state.rollout}: {place_words(state)}"]
    lines += [f"  {move_words(move)}" for move in state.moves]
    began = f"{state.phase_began_at:%Y-%m-%d %H:%M:%S}Z"
    lines.append(
        f"  asked for by {state.by} ({state.role.value}): {state.reason or '-'}; stands there since {began}"
    )
    if not state.phase.is_over:
        lines.append(f"  {plan_words(state)}")
    lines += [f"  waits: {reason.message}" for reason in state.waits_for]
    return lines


def plan_words(state: RolloutState) -> str:
    """The plan in one line, with the step in force in brackets."""
    if state.without_canary or state.fills_empty_slots:
        why = "nothing served before" if state.fills_empty_slots else "without a canary"
        watched = hours_text(state.plan.watch_hours)
        return f"plan: champion as soon as it is loaded ({why}), then watched for {watched}"
    parts = [f"shadow {hours_text(state.plan.shadow_hours)}"] if state.plan.shadow_hours else []
    for number, step in enumerate(state.plan.steps):
        share = share_text(step.weight_bp)
        now = state.phase is RolloutPhase.CANARY and number == state.step
        parts.append(f"[{share}]" if now else share)
    return f"plan: {' > '.join(parts)} > champion, watched for {hours_text(state.plan.watch_hours)}"


def hours_text(hours: float) -> str:
    """A length of time: ``90 s``, ``30 min``, ``24 h``."""
    if hours and hours < 0.05:
        return f"{hours * 3_600:.0f} s"
    return f"{hours * 60:.0f} min" if hours and hours < 1.0 else f"{hours:g} h"


def transition_line(one: SeenTransition) -> str:
    """One transition in one line."""
    stands = "" if one.kind is EntryKind.HOLDBACK_ENDED else f", {place_words(one.state)}"
    if one.state.phase.is_over:
        stands = ""
    why = f": {' '.join(one.reason.split())}" if one.reason else ""
    return f"{one.at:%H:%M:%S}Z {_KINDS[one.kind]}{stands}, by {one.actor}{why}"


def finding_row(found: Finding) -> tuple[str, ...]:
    """One finding as a row of `FINDING_COLUMNS`."""
    return (
        found.slot,
        _CRITERIA[found.criterion],
        rate_text(found.challenger),
        f"{found.compared_with.value} {rate_text(found.reference)}",
        evidence_text(found),
        samples_text(found),
        found.verdict.value,
    )


def finding_line(found: Finding) -> str:
    """One finding in one line."""
    return (
        f"{found.slot}, {_CRITERIA[found.criterion]}: {rate_text(found.challenger)} against "
        f"{found.compared_with.value} {rate_text(found.reference)}, {evidence_text(found)}, "
        f"{samples_text(found)} samples: {found.verdict.value}"
    )


def evidence_text(found: Finding) -> str:
    """How near a decision is: the evidence for harm of what it takes, or a bound."""
    if found.bound is not None:
        return f"at least {found.bound:+.2%}"
    if found.e_value is None or found.threshold is None:
        return "-"
    return f"{found.e_value:.3g} of {found.threshold:.4g} for harm"


def samples_text(found: Finding) -> str:
    """Samples, and how many it takes where that is known."""
    if found.samples_needed is None:
        return f"{found.samples:,}"
    return f"{found.samples:,} of {found.samples_needed:,}"


def rate_text(rate: float | None) -> str:
    """A rate with three figures; a dash where there is none."""
    return "-" if rate is None else f"{rate:.3g}"


def answer_rows(seen: SeenRollout) -> Iterable[tuple[str, ...]]:
    """What was counted in the step in force, or in the watch, by slot and role, as `ANSWER_COLUMNS`."""
    for move in seen.state.moves:
        slot = seen.evidence.slots.get(move.slot)
        step = None if slot is None else _in_force(seen.state, slot)
        if step is None:
            continue
        named = (
            ("champion", step.champion),
            ("challenger", step.challenger),
            ("shadow", step.shadow),
            ("holdback", step.holdback),
        )
        for who, answers in named:
            if answers.asked:
                yield _answer_row(move, who, answers)


def _in_force(state: RolloutState, slot: SlotEvidence) -> StepEvidence | None:
    if slot.watch is not None:
        return slot.watch
    return slot.steps[-1] if slot.steps and state.phase is not RolloutPhase.PREPARING else None


def _answer_row(move: Move, who: str, answers: Answers) -> tuple[str, ...]:
    return (
        move.slot,
        who,
        f"{answers.asked:,}",
        f"{answers.failed:,}",
        f"{answers.malformed:,}",
        f"{answers.late:,}",
        f"{answers.slower_than(move.slow_ms):,} over {move.slow_ms:g} ms",
        f"{answers.degraded:,}",
    )


def picture(seen: SeenRollout, last_lines: Sequence[str] = ()) -> RenderableType:
    """All of a rollout: where it stands, what was counted, what was found; and further lines below."""
    from rich.console import Group
    from rich.text import Text

    from streamrec.command_line.tables import table

    parts: list[RenderableType] = [Text("\n".join(head_lines(seen.state)))]
    answers = list(answer_rows(seen))
    if answers:
        parts.append(table("Answers under this step", ANSWER_COLUMNS, answers))
    if seen.analysis is not None and seen.analysis.findings:
        rows = [finding_row(found) for found in seen.analysis.findings]
        parts.append(table("What the evidence says", FINDING_COLUMNS, rows))
    parts += [Text(line) for line in missing_lines(seen)]
    parts += [Text(line, style="dim") for line in last_lines]
    return Group(*parts)


def missing_lines(seen: SeenRollout) -> list[str]:
    """What could not be read, and what speaks against the versions."""
    lines = [f"missing: {text}" for text in seen.evidence.missing]
    lines += [f"{name}: {slot.problem}" for name, slot in seen.evidence.slots.items() if slot.problem]
    return [*lines, seen.evidence.refused] if seen.evidence.refused else lines
