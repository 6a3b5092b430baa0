"""Ledgers as tests need them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from streamrec.contracts.ledger_entry import ActorRole, EntryKind
from streamrec.ledger.ledger import Decision
from streamrec.ledger.memory_ledger import MemoryLedger

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class MinuteClock:
    """A minute passes with every look."""

    def __init__(self) -> None:
        self.now = NOON - timedelta(minutes=1)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


def decided(subject: str = "toxicity@1", **fields: Any) -> Decision:
    defaults: dict[str, Any] = {
        "actor": "mira",
        "role": ActorRole.SPOKE,
        "kind": EntryKind.GATES_JUDGED,
    }
    return Decision(subject=subject, **{**defaults, **fields})


def ledger_of(entries: int) -> MemoryLedger:
    """So many entries; every second one has evidence of its own."""
    ledger = MemoryLedger(clock=MinuteClock())
    for number in range(1, entries + 1):
        ledger.append(
            decided(f"toxicity@{number}", evidence={"share": number / 8} if number % 2 == 0 else None)
        )
    return ledger
