"""Audits of what serves: written into the ledger, and where one failed somebody has to mend it."""

from __future__ import annotations

import hashlib

from streamrec.contracts.canonical_json import canonical_json
from streamrec.contracts.ledger_entry import EntryKind
from streamrec.contracts.results import Result, Verdict
from streamrec.governance.deployment import Actor
from streamrec.governance.desk import Desk
from streamrec.governance.judgement import MAXIMUM_REASONS, few
from streamrec.governance.records import read_records
from streamrec.governance.remediations import KINDS, plan_evidence, remediations_of


def record_audit(desk: Desk, actor: Actor, slot: str, result: Result) -> bool:
    """Write down what an audit of a slot found; a failed one opens a plan, unless one is open.

    Args:
        desk: Where decisions are made.
        actor: Who audited.
        slot: What was audited: all that served in it.
        result: What was found.

    Returns:
        Whether a plan was opened.

    Raises:
        InvalidInputError, TemporaryError: See `Ledger.append_all`; nothing was written.
    """
    found = {
        "verdict": result.verdict.value,
        "reasons": [reason.to_json() for reason in result.reasons[:MAXIMUM_REASONS]],
        "result_sha256": hashlib.sha256(canonical_json(result.to_json())).hexdigest(),
    }
    decisions = [actor.decides(EntryKind.AUDIT_RECORDED, slot, found)]
    plans = remediations_of(read_records(desk.ledger, subject=slot, kinds=KINDS))
    opens = result.verdict is Verdict.FAILED and all(plan.closed_at is not None for plan in plans)
    if opens:
        owner = slot.partition(".")[0]
        plan = plan_evidence(owner, few([reason.message for reason in result.reasons]), desk.clock())
        decisions.append(actor.decides(EntryKind.REMEDIATION_OPENED, slot, plan))
    desk.ledger.append_all(decisions)
    return opens
