"""Remediation plans: a version that failed its audit of fairness has an owner, a task and a due date."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from streamrec.contracts.ledger_entry import EntryKind
from streamrec.governance.judgement import Judgement, few
from streamrec.governance.records import Recorded

DUE_AFTER: Final = timedelta(days=14)
KINDS: Final = (EntryKind.REMEDIATION_OPENED, EntryKind.REMEDIATION_CLOSED)


@dataclass(frozen=True, slots=True)
class Remediation:
    """One plan.

    Attributes:
        number: Of the ledger entry that opened it.
        model: What failed: a version, or a slot whose log was audited.
        owner: The team that answers for it.
        what: What is to be mended.
        opened_at, due: When it was opened, and by when it is to be done.
        closed_at: When it was closed; None while it is open.
        closed_by, outcome: By whom, and with what.
    """

    number: int
    model: str
    owner: str
    what: str
    opened_at: datetime
    due: datetime
    closed_at: datetime | None = None
    closed_by: str = ""
    outcome: str = ""

    def overdue(self, now: datetime) -> bool:
        """Whether it is open past its due date."""
        return self.closed_at is None and now >= self.due


def remediations_of(records: Iterable[Recorded]) -> tuple[Remediation, ...]:
    """All plans, open or closed, oldest first."""
    found: dict[int, Remediation] = {}
    for record in records:
        entry, evidence = record.entry, record.evidence
        if entry.kind is EntryKind.REMEDIATION_OPENED:
            found[entry.seq] = Remediation(
                entry.seq,
                entry.subject,
                evidence["owner"],
                evidence["what"],
                entry.at,
                datetime.fromisoformat(evidence["due"]),
            )
        elif entry.kind is EntryKind.REMEDIATION_CLOSED and evidence["remediation"] in found:
            plan = found[evidence["remediation"]]
            found[plan.number] = replace(
                plan, closed_at=entry.at, closed_by=entry.actor, outcome=entry.reason
            )
    return tuple(found.values())


def open_first(plans: Iterable[Remediation], now: datetime) -> list[Remediation]:
    """Plans as they are listed everywhere: overdue ones, then open ones by due date, then closed ones."""
    return sorted(plans, key=lambda plan: (plan.closed_at is not None, not plan.overdue(now), plan.due))


def plan_for(judgement: Judgement, now: datetime) -> dict[str, Any]:
    """Evidence of a plan for what gates found to be unfair."""
    messages = [reason.message for reason in judgement.reasons if reason.path.split(".")[0] == "fairness"]
    return plan_evidence(judgement.owner, few(messages) or "the fairness gate has failed", now)


def plan_evidence(owner: str, what: str, now: datetime) -> dict[str, Any]:
    """Evidence of a plan: who answers for it, what is to be mended, and by when."""
    return {"owner": owner, "what": what[:1_000], "due": (now + DUE_AFTER).isoformat()}
