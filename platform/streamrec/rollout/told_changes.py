"""What the ledger says of traffic, kept true where a writer dies between saying a change and making it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from streamrec.contracts.ledger_entry import ActorRole, EntryKind
from streamrec.contracts.models import ModelRef
from streamrec.ledger.ledger import Ledger
from streamrec.ledger.served import TrafficEvidence, change_told_by, traffic_decisions
from streamrec.rollout.traffic_history import ChangeKind

DIRECT_WRITER: Final = "traffic-writer"
"""Actor of what the writer of the traffic document says of itself: that something never came about."""

ROLLOUT_CONTROLLER: Final = "rollout-controller"
"""Actor of what the evidence decides, and of every change of traffic that a rollout makes."""


@dataclass(frozen=True, slots=True)
class By:
    """Who changes traffic.

    Attributes:
        actor: Who.
        role: In which role.
        reason: Why.
    """

    actor: str
    role: ActorRole
    reason: str


def tell(
    ledger: Ledger,
    kind: ChangeKind,
    revision: int,
    before: Mapping[str, ModelRef],
    after: Mapping[str, ModelRef],
    by: By,
) -> None:
    """Append a change of traffic: an entry for each slot, all or none.

    Raises:
        TemporaryError: The ledger cannot be written; nothing may be changed.
    """
    evidence = TrafficEvidence(revision, before, after, kind.value)
    ledger.append_all(traffic_decisions(evidence, actor=by.actor, role=by.role, reason=by.reason))


def take_back_what_never_came(ledger: Ledger, champions: Mapping[str, ModelRef], revision: int) -> bool:
    """Say in the ledger that its newest change never came about, where that is so.

    The ledger is told first and the document is published then. A writer that was killed in between, or whose
    disk was full, leaves a ledger that knows of more than ever served. Called within the writer's lock,
    before anything else is told, so that it is the newest change if it is any.

    Args:
        ledger: Where changes are told.
        champions: What serves, by slot.
        revision: Of the traffic document in force; 0 where there is none.

    Returns:
        Whether something was taken back.

    Raises:
        ArtifactError, NotFoundError: The evidence of the newest change was edited, or is missing.
        TemporaryError: The ledger cannot be read or written.
    """
    newest = next(ledger.entries(kinds=(EntryKind.TRAFFIC_CHANGED,), newest_first=True, limit=1), None)
    if newest is None:
        return False
    told = change_told_by(ledger, newest)
    wrong = [slot for slot in {**told.before, **told.after} if told.after.get(slot) != champions.get(slot)]
    if not wrong:
        return False
    reason = f"what entry {newest.seq} says never came about, or was undone by hand"
    tell(
        ledger,
        ChangeKind.ROLLED_BACK,
        revision or told.revision,
        {slot: told.after[slot] for slot in wrong if slot in told.after},
        {slot: champions[slot] for slot in wrong if slot in champions},
        By(DIRECT_WRITER, ActorRole.PLATFORM, reason),
    )
    return True
