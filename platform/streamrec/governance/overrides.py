"""Overrides: somebody in the role responsible-ai answers for a gate that did not pass, for a stated time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.governance.model_verdict import OVERRIDABLE
from streamrec.contracts.ledger_entry import EntryKind
from streamrec.contracts.models import ModelRef
from streamrec.contracts.specification.gate_names import GateName
from streamrec.governance.records import Recorded

LONGEST: Final = timedelta(days=90)
KINDS: Final = (EntryKind.OVERRIDE_GRANTED, EntryKind.OVERRIDE_ENDED)


@dataclass(frozen=True, slots=True)
class Override:
    """One override.

    Attributes:
        number: Of the ledger entry that granted it.
        model: The version.
        gate: The gate that somebody answers for.
        by: Who.
        reason: Why.
        granted_at: Since when.
        until: When it ends by itself.
        ended_at: When somebody ended it before that; None where nobody did.
    """

    number: int
    model: str
    gate: GateName
    by: str
    reason: str
    granted_at: datetime
    until: datetime
    ended_at: datetime | None = None

    def in_force(self, now: datetime) -> bool:
        """Whether it counts: it ends by itself, whatever anybody does or forgets."""
        return now < self.until and (self.ended_at is None or now < self.ended_at)

    @property
    def words(self) -> str:
        """In one line, for wherever the version shows."""
        return f"{self.gate} overridden by {self.by} until {self.until:%Y-%m-%d %H:%M}Z"


def overrides_of(records: Iterable[Recorded]) -> tuple[Override, ...]:
    """All overrides, in force or not, oldest first."""
    found: dict[int, Override] = {}
    for record in records:
        entry, evidence = record.entry, record.evidence
        if entry.kind is EntryKind.OVERRIDE_GRANTED:
            found[entry.seq] = Override(
                entry.seq,
                entry.subject,
                GateName(evidence["gate"]),
                entry.actor,
                entry.reason,
                entry.at,
                datetime.fromisoformat(evidence["until"]),
            )
        elif entry.kind is EntryKind.OVERRIDE_ENDED and evidence["override"] in found:
            granted = found[evidence["override"]]
            found[granted.number] = replace(granted, ended_at=granted.ended_at or entry.at)
    return tuple(found.values())


def in_force(overrides: Sequence[Override], now: datetime) -> tuple[Override, ...]:
    """Those that count now, the one that lasts longest of each gate of each version."""
    last: dict[tuple[str, GateName], Override] = {}
    for override in overrides:
        key = (override.model, override.gate)
        if override.in_force(now) and (key not in last or override.until > last[key].until):
            last[key] = override
    return tuple(last.values())


def check_grant(gate: GateName, reason: str, until: datetime, now: datetime) -> None:
    """Refuse an override that must not be.

    Raises:
        InvalidInputError: The gate is not one that anybody may answer for, there is no reason, or the end has
            passed or is too far away.
    """
    if gate not in OVERRIDABLE:
        names = ", ".join(sorted(OVERRIDABLE))
        raise InvalidInputError("gate", f"must be one that somebody may answer for: {names}, not {gate}")
    if not reason.strip():
        raise InvalidInputError("reason", "must say why: it is shown wherever the version is")
    if not now < until <= now + LONGEST:
        raise InvalidInputError("until", f"must be in the next {LONGEST.days} days; it can be granted again")


def granted(ref: ModelRef, gate: GateName, until: datetime) -> dict[str, str]:
    """Evidence of a grant."""
    return {"model": str(ref), "gate": gate.value, "until": until.isoformat()}


def ended(override: Override) -> dict[str, int]:
    """Evidence of an early end."""
    return {"override": override.number}
