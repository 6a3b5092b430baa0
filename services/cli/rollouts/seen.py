"""One rollout as the control plane shows it, read from its documents; and what follows for a command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from streamrec.contracts.ledger_entry import EntryKind
from streamrec.contracts.results import Reason, Result, Verdict
from streamrec.contracts.rollouts.evidence import RolloutEvidence
from streamrec.contracts.rollouts.state import RolloutPhase, RolloutState
from streamrec.rollout.analysis import Analysis

STATUS_SCHEMA: Final = "streamrec.rollout_status.v1"

_REACHED_CHAMPION: Final = frozenset({RolloutPhase.WATCH, RolloutPhase.COMPLETED})
_FAILED: Final = frozenset({RolloutPhase.ROLLED_BACK, RolloutPhase.ABORTED})


@dataclass(frozen=True, slots=True)
class SeenRollout:
    """Where a rollout stands and what is known.

    Attributes:
        state: Where.
        evidence: What is known now.
        analysis: What was found in it; None where it is over.
    """

    state: RolloutState
    evidence: RolloutEvidence
    analysis: Analysis | None

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> SeenRollout:
        """Read what the control plane answers.

        Raises:
            InvalidInputError: It is of another release.
        """
        analysis = document["analysis"]
        return cls(
            RolloutState.from_json(document["state"]),
            RolloutEvidence.from_json(document["evidence"]),
            None if analysis is None else Analysis.from_json(analysis),
        )


@dataclass(frozen=True, slots=True)
class SeenTransition:
    """One transition as the ledger has it.

    Attributes:
        seq: Number of its entry.
        at: When.
        actor, role: Who.
        kind: What happened.
        reason: Why, in words.
        state: Where the rollout stood afterwards.
    """

    seq: int
    at: datetime
    actor: str
    role: str
    kind: EntryKind
    reason: str
    state: RolloutState

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> SeenTransition:
        """Read one item of a history.

        Raises:
            InvalidInputError: Its state is of another release.
            ValueError: Another field is.
        """
        return cls(
            int(document["seq"]),
            datetime.fromisoformat(document["at"]),
            str(document["actor"]),
            str(document["role"]),
            EntryKind(document["kind"]),
            str(document["reason"]),
            RolloutState.from_json(document["state"]),
        )


def is_champion(state: RolloutState) -> bool:
    """Whether its versions have become champions."""
    return state.phase in _REACHED_CHAMPION


def status_result(seen: SeenRollout, last: SeenTransition | None, *, until_champion: bool = False) -> Result:
    """How a rollout went, as a judgement.

    ``passed`` where it is completed, ``failed`` where it was rolled back or aborted, ``inconclusive`` where
    it is under way.

    Args:
        seen: The rollout.
        last: Its last transition, which says why it ended.
        until_champion: Having become champion is enough to pass.
    """
    state = seen.state
    content = {
        "rollout": state.to_json(),
        "evidence": seen.evidence.to_json(),
        "analysis": None if seen.analysis is None else seen.analysis.to_json(),
    }
    if state.phase is RolloutPhase.COMPLETED or (until_champion and is_champion(state)):
        return Result(STATUS_SCHEMA, Verdict.PASSED, (), content)
    if state.phase in _FAILED:
        why = "" if last is None else f": {last.reason}"
        reason = Reason(state.phase.value, "rollout", _line(f"{state.rollout} was {_words(state)}{why}"))
        return Result(STATUS_SCHEMA, Verdict.FAILED, (reason,), content)
    waits = state.waits_for or (Reason("under_way", "rollout", f"{state.rollout} is under way"),)
    return Result(STATUS_SCHEMA, Verdict.INCONCLUSIVE, waits, content)


def _words(state: RolloutState) -> str:
    return state.phase.value.replace("_", " ")


def _line(text: str) -> str:
    return " ".join(text.split())[:1_000]
