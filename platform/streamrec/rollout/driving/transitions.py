"""A transition of a rollout as an entry of the ledger: written down, and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.contracts.ledger_entry import ActorRole, EntryKind, LedgerEntry
from streamrec.contracts.results import Reason
from streamrec.contracts.rollouts.evidence import RolloutEvidence
from streamrec.contracts.rollouts.state import RolloutState
from streamrec.ledger.ledger import Decision, Ledger, evidence_content
from streamrec.rollout.told_changes import ROLLOUT_CONTROLLER, By

TRANSITIONS: Final = frozenset(
    {
        EntryKind.ROLLOUT_STARTED,
        EntryKind.ROLLOUT_ADVANCED,
        EntryKind.ROLLOUT_PAUSED,
        EntryKind.ROLLOUT_RESUMED,
        EntryKind.ROLLOUT_RETRIED,
        EntryKind.ROLLOUT_ABORTED,
        EntryKind.ROLLOUT_ROLLED_BACK,
        EntryKind.ROLLOUT_COMPLETED,
        EntryKind.HOLDBACK_ENDED,
    }
)
"""Kinds of entries about a rollout; the subject of each is its name."""

_REASON_MAXIMUM: Final = 2_000


class ToJson(Protocol):
    """What can be kept as evidence."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        ...


class Transition(Protocol):
    """What `RolloutBook.append` writes down: a `streamrec.rollout.step.Decision`."""

    @property
    def state(self) -> RolloutState:
        """The state afterwards."""
        ...

    @property
    def kind(self) -> EntryKind | None:
        """What has happened; None: nothing that is written down."""
        ...

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why."""
        ...

    @property
    def analysis(self) -> ToJson | None:
        """What was found in the evidence; None where none was looked at."""
        ...


@dataclass(frozen=True, slots=True)
class RecordedTransition:
    """A transition as the ledger has it.

    Attributes:
        entry: Who, when and why.
        state: The state afterwards.
        evidence: What it was decided by; None where nothing was looked at, or it was too large to be kept.
        analysis: What was found in it, plain JSON; None where nothing was.
        request: What somebody asked for; None where the evidence decided.
    """

    entry: LedgerEntry
    state: RolloutState
    evidence: RolloutEvidence | None
    analysis: Mapping[str, Any] | None
    request: str | None


def recorded_transition(ledger: Ledger, entry: LedgerEntry) -> RecordedTransition:
    """Read what an entry about a rollout says.

    Raises:
        ArtifactError: Its evidence was changed, or is none of a rollout.
        NotFoundError: It is missing.
        TemporaryError: The ledger cannot be read.
    """
    document = evidence_of(ledger, entry)
    state, evidence = state_of(entry, document), document.get("evidence")
    try:
        seen = None if evidence is None else RolloutEvidence.from_json(evidence)
    except InvalidInputError as error:
        raise _damaged(entry, error) from error
    return RecordedTransition(entry, state, seen, document.get("analysis"), document.get("request"))


def entry_of(
    decision: Transition, by: By | None, evidence: RolloutEvidence | None, request: str | None
) -> Decision:
    """What is appended for a transition.

    Args:
        decision: What was decided.
        by: Who; None: the controller, for the reasons of the decision.
        evidence: What was looked at; left out where it is too large to be kept.
        request: What somebody asked for.

    Raises:
        InvalidInputError: Nothing happens, or it is no transition of a rollout.
    """
    if decision.kind is None:
        raise InvalidInputError("decision", "is that nothing happens: there is nothing to append")
    if decision.kind not in TRANSITIONS:
        raise InvalidInputError("kind", f"{decision.kind} is none of a rollout")
    why = "; ".join(reason.message for reason in decision.reasons)
    who = by or By(ROLLOUT_CONTROLLER, ActorRole.PLATFORM, why)
    document: dict[str, Any] = {
        "state": decision.state.to_json(),
        "evidence": None if evidence is None else evidence.to_json(),
        "analysis": None if decision.analysis is None else decision.analysis.to_json(),
        "reasons": [reason.to_json() for reason in decision.reasons],
        "request": request,
    }
    try:
        evidence_content(document)
    except InvalidInputError:
        # What was counted is the largest part. Better a transition without it than none, an abort say.
        document["evidence"] = None
    reason = (who.reason or why)[:_REASON_MAXIMUM]
    return Decision(who.actor, who.role, decision.kind, decision.state.rollout, reason, document)


def evidence_of(ledger: Ledger, entry: LedgerEntry) -> Mapping[str, Any]:
    """What is stored with an entry about a rollout.

    Raises:
        ArtifactError: Nothing is, or it was changed.
        NotFoundError: It is missing.
        TemporaryError: The ledger cannot be read.
    """
    if entry.evidence_digest is None:
        raise ArtifactError(f"entry {entry.seq} of the ledger moves a rollout without saying where to")
    return ledger.evidence(entry.evidence_digest)


def state_of(entry: LedgerEntry, document: Mapping[str, Any]) -> RolloutState:
    """The state that the evidence of an entry holds.

    Raises:
        ArtifactError: It holds none, or that of another rollout.
    """
    try:
        state = RolloutState.from_json(document["state"])
    except (InvalidInputError, KeyError) as error:
        raise _damaged(entry, error) from error
    if state.rollout != entry.subject:
        raise _damaged(entry, f"it is of {state.rollout}")
    return state


def _damaged(entry: LedgerEntry, error: object) -> ArtifactError:
    return ArtifactError(
        f"the evidence of entry {entry.seq} of the ledger is not that of a rollout of this release: {error}"
    )
