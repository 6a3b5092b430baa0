"""Signing again what an older key signed: what the ledger says was decided, and nothing else.

Whoever stole a key may have signed anything with it. So what a document says is compared with the ledger, and
who signed it is not asked: this works before and after the old key is revoked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamrec.contracts.ledger_entry import EntryKind
from streamrec.contracts.models import ModelRef
from streamrec.governance.desk import Desk
from streamrec.governance.records import Recorded, read_records
from streamrec.governance.revoked import revoked_verdicts
from streamrec.registry.revocations import publish_revocations
from streamrec.registry.signed_verdicts import document_sha256, sign_verdict, unverified_verdict
from streamrec.registry.signed_versions import sign_version_again


@dataclass(frozen=True, slots=True)
class SignedAgain:
    """What was done.

    Attributes:
        signed: Versions whose verdicts, and documents where they have been promoted, the new key signed.
        left: Versions whose documents are not what the ledger says: replicas refuse them once the old key
            is revoked.
    """

    signed: Sequence[ModelRef]
    left: Sequence[ModelRef]


def sign_again(desk: Desk) -> SignedAgain:
    """Sign every verdict that the ledger knows, the document of its version, and the list of what is revoked,
    with the key that signs now.

    Raises:
        ArtifactError: The ledger was changed.
        TemporaryError: The ledger or a document cannot be read or written; what was signed is signed.
    """
    newest: dict[ModelRef, Recorded] = {}
    revoked: dict[ModelRef, bool] = {}
    for record in read_records(desk.ledger, kinds=(EntryKind.VERDICT_SIGNED, EntryKind.VERDICT_REVOKED)):
        ref = ModelRef.parse(record.entry.subject)
        revoked[ref] = record.entry.kind is EntryKind.VERDICT_REVOKED
        if not revoked[ref]:
            newest[ref] = record
    if revoked:
        publish_revocations(desk.verdicts, desk.keys, revoked_verdicts(desk.ledger))
    done = {ref: _sign_one(desk, ref, newest, revoked[ref]) for ref in sorted(revoked)}
    return SignedAgain(
        [ref for ref, signed in done.items() if signed], [ref for ref, signed in done.items() if not signed]
    )


def _sign_one(desk: Desk, ref: ModelRef, newest: Mapping[ModelRef, Recorded], is_revoked: bool) -> bool:
    verdict, known = unverified_verdict(desk.verdicts, ref), newest.get(ref)
    if verdict is None or known is None or (verdict.revoked is not None) is not is_revoked:
        return False
    if known.evidence["document_sha256"] != document_sha256(verdict):
        return False
    sign_verdict(desk.verdicts, desk.keys, verdict)
    sign_version_again(desk.verdicts, desk.keys, ref, verdict.version_digest)
    return True
