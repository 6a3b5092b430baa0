"""Why a version that may serve by its documents must not serve any more: what happened since it was let in.

A replica that has a version loaded goes on with it when its verdict is revoked or an override ends, so that
neither takes a slot down. Whoever drives traffic asks here, and takes it away from what must not have it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from streamrec.contracts.ledger_entry import EntryKind
from streamrec.contracts.models import ModelRef
from streamrec.contracts.specification.gate_names import GateName
from streamrec.governance.overrides import Override, in_force, overrides_of
from streamrec.governance.records import Recorded, read_records
from streamrec.ledger.ledger import Ledger

KINDS: Final = frozenset(
    {
        EntryKind.VERDICT_SIGNED,
        EntryKind.VERDICT_REVOKED,
        EntryKind.OVERRIDE_GRANTED,
        EntryKind.OVERRIDE_ENDED,
    }
)
"""What decides it."""


def why_not_serving(ref: ModelRef, records: Iterable[Recorded], now: datetime) -> str:
    """Why a version must not serve any more; empty where nothing speaks against it. Pure.

    Two things do: its newest verdict was revoked, or rests on an override that is no longer in force. A later
    judgement of gates does not: it keeps a version from being promoted, and takes nothing down by itself.

    Args:
        ref: The version.
        records: Entries of `KINDS`, oldest first; those about other versions are left out.
        now: Overrides end by it.
    """
    own = [record for record in records if record.entry.subject == str(ref)]
    signed = next((one for one in reversed(own) if one.entry.kind is EntryKind.VERDICT_SIGNED), None)
    if signed is None:
        return ""
    revoked = next((one.entry for one in reversed(own) if one.entry.kind is EntryKind.VERDICT_REVOKED), None)
    if revoked is not None and revoked.seq > signed.entry.seq:
        return f"the verdict over {ref} was revoked by {revoked.actor}: {revoked.reason}"
    granted = overrides_of(own)
    answered = {override.gate for override in in_force(granted, now)}
    lost = sorted(GateName(gate) for gate in signed.evidence["overrides"] if GateName(gate) not in answered)
    if not lost:
        return ""
    ended = "; ".join(_ended(gate, granted) for gate in lost)
    return f"nobody answers for {', '.join(lost)} of {ref} any more: {ended}"


def refusals(ledger: Ledger, refs: Iterable[ModelRef], now: datetime) -> dict[ModelRef, str]:
    """Which of these versions must not serve any more, and why; the others are left out.

    Args:
        ledger: Where decisions are.
        refs: What serves, or is about to.
        now: Overrides end by it.

    Raises:
        ArtifactError: An entry or its evidence was changed.
        TemporaryError: The ledger cannot be read: nobody can tell.
    """
    found = {}
    for ref in dict.fromkeys(refs):
        why = why_not_serving(ref, read_records(ledger, subject=str(ref), kinds=KINDS), now)
        if why:
            found[ref] = why
    return found


def _ended(gate: GateName, overrides: Sequence[Override]) -> str:
    """How the newest override of a gate came to its end."""
    last = next((one for one in reversed(overrides) if one.gate is gate), None)
    if last is None:
        return f"the ledger holds no override of {gate}"
    if last.ended_at is not None and last.ended_at < last.until:
        return f"the override by {last.by} was ended on {last.ended_at:%Y-%m-%d %H:%M}Z"
    return f"the override by {last.by} ended on {last.until:%Y-%m-%d %H:%M}Z"
