"""What every decision about a version needs: the ledger, the registry, and where verdicts are signed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from streamrec.access.identity import Identity
from streamrec.contracts.errors import PermissionDeniedError
from streamrec.contracts.models import ModelRef
from streamrec.governance.eligibility import Eligibility, eligibility
from streamrec.governance.records import read_records
from streamrec.ledger.ledger import Ledger
from streamrec.ledger.memory_ledger import utc_now
from streamrec.registry.model_registry import ModelRegistry


@dataclass(frozen=True, slots=True)
class Desk:
    """Where decisions are made.

    Attributes:
        ledger: Where each is written, before it takes effect.
        registry: Which versions exist.
        verdicts: Folder of the signed documents of versions.
        keys: Folder of the key that signs.
        clock: Now.
    """

    ledger: Ledger
    registry: ModelRegistry
    verdicts: Path
    keys: Path
    clock: Callable[[], datetime] = utc_now

    def eligibility(self, ref: ModelRef) -> Eligibility:
        """Where a version stands now.

        Raises:
            ArtifactError, TemporaryError: See `read_records`.
        """
        return eligibility(ref, read_records(self.ledger, subject=str(ref)), self.clock())


def check_second_pair_of_eyes(identity: Identity, found: Eligibility, deed: str) -> None:
    """Refuse somebody who would judge their own work.

    Raises:
        PermissionDeniedError: They registered the version or asked for it, or no token says who they are.
    """
    if identity.actor in found.authors:
        raise PermissionDeniedError(
            f"{identity.actor} registered {found.ref} or asked for it: somebody else has to {deed}"
        )
    if not identity.by_token:
        raise PermissionDeniedError(
            f"whoever wants to {deed} shows a token of their own in STREAMREC_TOKEN, also in a workspace "
            "that one person owns: 'streamrec access add' makes it"
        )
