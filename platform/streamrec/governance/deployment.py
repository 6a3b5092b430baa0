"""What becomes of a version that gates judged: written into the ledger, then signed where it passed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streamrec.access.identity import Identity
from streamrec.contracts.canonical_json import canonical_json
from streamrec.contracts.errors import ArtifactError, ConflictError, InvalidInputError, NotFoundError
from streamrec.contracts.governance.model_verdict import (
    Basis,
    ModelVerdict,
    OverrideInForce,
    Revocation,
)
from streamrec.contracts.ledger_entry import ActorRole, EntryKind
from streamrec.contracts.models import ModelRef
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.gate_names import GateName
from streamrec.documents.key_folder import KeyFolder
from streamrec.governance.desk import Desk
from streamrec.governance.eligibility import Eligibility, Standing
from streamrec.governance.judgement import Judgement
from streamrec.governance.overrides import Override
from streamrec.governance.records import read_records
from streamrec.governance.remediations import KINDS, plan_for, remediations_of
from streamrec.governance.revoked import revoked_verdicts
from streamrec.ledger.ledger import MAXIMUM_EVIDENCE_BYTES, Decision
from streamrec.registry.model_registry import ModelVersion
from streamrec.registry.revocations import publish_revocations, published_revocations
from streamrec.registry.signed_verdicts import (
    SignedVerdicts,
    document_sha256,
    files_of,
    revoke_verdict,
    sign_verdict,
)
from streamrec.registry.version_document import version_digest


@dataclass(frozen=True, slots=True)
class Actor:
    """Who decides, in which role, and why.

    Attributes:
        identity: Who.
        role: In which of their roles (`streamrec.access.permissions.role_for`).
        reason: Why, in their words.
    """

    identity: Identity
    role: ActorRole
    reason: str = ""

    def decides(
        self, kind: EntryKind, subject: ModelRef | str, evidence: Mapping[str, Any] | None = None
    ) -> Decision:
        """A decision of theirs, as the ledger takes it."""
        return Decision(self.identity.actor, self.role, kind, str(subject), self.reason, evidence)


def settle(
    desk: Desk, actor: Actor, judgement: Judgement, report: Mapping[str, Any] | None = None
) -> Eligibility:
    """Write down what gates found, sign the verdict where they passed, and say what comes next.

    Where fairness alone did not pass and an override of it is in force, the verdict is signed too, and names
    it. A version whose fairness failed gets a remediation plan, unless one is open.

    Args:
        desk: Where decisions are made.
        actor: Who asked.
        judgement: What was found.
        report: All of it; kept with the entry where it is not too large.

    Raises:
        ConflictError: The version is not the one that was judged.
        ArtifactError: Its files are damaged.
        TemporaryError: The ledger or the verdict cannot be written: it is not eligible; ask again.
    """
    ref, now = judgement.model, desk.clock()
    version = desk.registry.get(ref)
    _check_same(version, judgement)
    decisions = [actor.decides(EntryKind.GATES_JUDGED, ref, _evidence(judgement, report))]
    overrides = desk.eligibility(ref).overrides
    used = [override for override in overrides if override.gate in judgement.not_passed]
    passes = judgement.passes(override.gate for override in used)
    if not passes and _unfair(judgement) and not _has_open_plan(desk, ref):
        decisions.append(actor.decides(EntryKind.REMEDIATION_OPENED, ref, plan_for(judgement, now)))
    if not passes:
        desk.ledger.append_all(decisions)
        return desk.eligibility(ref)
    verdict = _verdict(desk, version, judgement, used)
    decisions.append(actor.decides(EntryKind.VERDICT_SIGNED, ref, _signed(verdict)))
    if judgement.review.approvals:
        asked = {"approvals": judgement.review.approvals, "roles": list(judgement.review.roles)}
        decisions.append(actor.decides(EntryKind.REVIEW_REQUESTED, ref, asked))
    desk.ledger.append_all(decisions)
    _sign(desk, verdict)
    return desk.eligibility(ref)


def break_glass(desk: Desk, actor: Actor, ref: ModelRef) -> Eligibility:
    """Let a version serve that has not earned it, or not yet: for an emergency.

    It is written into the ledger first, and shows until a version serves that gates passed. One that is
    eligible already is left as it is: no glass needs breaking.

    Args:
        desk: Where decisions are made.
        actor: Who breaks it, in the role platform, and why.
        ref: The version; those that it depends on need a verdict too.

    Raises:
        InvalidInputError: There is no reason.
        NotFoundError: There is no such version.
        ArtifactError: Its files are damaged: nothing lets those serve.
        TemporaryError: The ledger or the verdict cannot be written: it does not serve.
    """
    if not actor.reason.strip():
        raise InvalidInputError("reason", "must say why: breaking the glass is explained, and shown")
    found = desk.eligibility(ref)
    if found.eligible:
        return found
    version = desk.registry.get(ref)
    verdict = ModelVerdict(
        model=ref,
        artifact_digest=version.artifact_digest,
        version_digest=version_digest(version),
        files=files_of(desk.registry.fetch(version)),
        specification_digest=None,
        basis=Basis.BREAK_GLASS,
        gates={} if found.judgement is None else found.judgement.gates,
        overrides=(),
        champion=None,
        isolation={},
        isolation_waived=False,
        at=desk.clock(),
    )
    stood = {"standing": found.standing.value, "why": list(found.why)}
    desk.ledger.append_all(
        [
            actor.decides(EntryKind.BREAK_GLASS_USED, ref, stood),
            actor.decides(EntryKind.VERDICT_SIGNED, ref, _signed(verdict)),
        ]
    )
    _sign(desk, verdict)
    return desk.eligibility(ref)


def revoke(desk: Desk, actor: Actor, ref: ModelRef) -> Eligibility:
    """Let no replica load a version any more; one that has it loaded goes on until traffic leaves it.

    A revocation that was cut off, or whose document somebody put back, is finished by asking again.

    Raises:
        InvalidInputError: There is no reason, or no verdict that is left to revoke.
        NotFoundError, ArtifactError: There is no verdict that verifies: nothing loads the version anyway.
        TemporaryError: The ledger or the verdict cannot be written.
    """
    if not actor.reason.strip():
        raise InvalidInputError("reason", "must say why")
    found, lies_there = desk.eligibility(ref), _lies_there(desk, ref)
    is_revoked = found.standing is Standing.REVOKED
    if (is_revoked or found.verdict_number is None) and lies_there is None:
        raise InvalidInputError("model", f"{ref} has no verdict that counts: it is {found.standing}")
    digest = None if lies_there is None else document_sha256(lies_there)
    if not is_revoked or digest not in revoked_verdicts(desk.ledger):
        evidence = {"verdict": found.verdict_number, "document_sha256": digest}
        desk.ledger.append(actor.decides(EntryKind.VERDICT_REVOKED, ref, evidence))
    publish_revocations(desk.verdicts, desk.keys, revoked_verdicts(desk.ledger))
    revoke_verdict(
        desk.verdicts, desk.keys, ref, Revocation(desk.clock(), actor.identity.actor, actor.reason)
    )
    return desk.eligibility(ref)


def _sign(desk: Desk, verdict: ModelVerdict) -> None:
    """Sign a verdict; replicas need the list of what is revoked beside it."""
    if published_revocations(desk.verdicts, desk.keys) is None:
        publish_revocations(desk.verdicts, desk.keys, revoked_verdicts(desk.ledger))
    sign_verdict(desk.verdicts, desk.keys, verdict)


def _lies_there(desk: Desk, ref: ModelRef) -> ModelVerdict | None:
    """The verdict that lies where replicas look and does not say that it is revoked, whatever the ledger
    says.
    """
    try:
        verdict = SignedVerdicts(desk.verdicts, KeyFolder(desk.keys).public_folder).get(ref)
    except (ArtifactError, NotFoundError):
        return None
    return verdict if verdict.revoked is None else None


def _check_same(version: ModelVersion, judgement: Judgement) -> None:
    if version.artifact_digest != judgement.artifact_digest:
        raise ConflictError(
            f"gates judged other files of {version.ref} than the registry holds now: somebody changed its "
            "row; nothing was signed. Look at it, and register what is right as a new version"
        )


def _evidence(judgement: Judgement, report: Mapping[str, Any] | None) -> dict[str, Any]:
    evidence: dict[str, Any] = {"verdict": judgement.verdict.value, "judgement": judgement.to_json()}
    if report is None:
        return evidence
    whole = {**evidence, "report": report}
    content = canonical_json(report)
    if len(canonical_json(whole)) <= MAXIMUM_EVIDENCE_BYTES:
        return whole
    return {**evidence, "report_sha256": hashlib.sha256(content).hexdigest()}


def _unfair(judgement: Judgement) -> bool:
    """Too little data is no finding: it needs more data, and no plan."""
    found = judgement.gates.get(GateName.FAIRNESS)
    return found is not None and found.verdict is Verdict.FAILED


def _has_open_plan(desk: Desk, ref: ModelRef) -> bool:
    records = read_records(desk.ledger, subject=str(ref), kinds=KINDS)
    return any(plan.closed_at is None for plan in remediations_of(records))


def _verdict(
    desk: Desk, version: ModelVersion, judgement: Judgement, overrides: list[Override]
) -> ModelVerdict:
    return ModelVerdict(
        model=version.ref,
        artifact_digest=version.artifact_digest,
        version_digest=version_digest(version),
        files=files_of(desk.registry.fetch(version)),
        specification_digest=judgement.specification_digest,
        basis=Basis.GATES,
        gates=judgement.gates,
        overrides=tuple(
            OverrideInForce(override.gate, override.by, override.until) for override in overrides
        ),
        champion=judgement.champion,
        isolation=judgement.isolation,
        isolation_waived=judgement.isolation_waived,
        at=desk.clock(),
    )


def _signed(verdict: ModelVerdict) -> dict[str, Any]:
    """What the ledger keeps of a verdict: enough to hold the document against."""
    return {
        "basis": verdict.basis.value,
        "artifact_digest": verdict.artifact_digest,
        "specification_digest": verdict.specification_digest,
        "overrides": [override.gate.value for override in verdict.overrides],
        "document_sha256": document_sha256(verdict),
    }
