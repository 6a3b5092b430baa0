"""A ledger in the memory of one process: for tests, and for a trial run that leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from streamrec.contracts.errors import NotFoundError
from streamrec.contracts.ledger_entry import EntryKind, LedgerEntry
from streamrec.ledger.ledger import (
    Decision,
    StoredEntry,
    UnlessNewer,
    chained,
    checked_until,
    newer_entry,
    prepared,
    read_evidence,
)


def utc_now() -> datetime:
    """The time by the system's clock, in UTC."""
    return datetime.now(UTC)


class MemoryLedger:
    """A `Ledger` that ends with its process."""

    def __init__(self, *, clock: Callable[[], datetime] = utc_now) -> None:
        """Start an empty one.

        Args:
            clock: The time of new entries.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: list[LedgerEntry] = []
        self._evidence: dict[str, bytes] = {}

    def append(self, decision: Decision) -> LedgerEntry:
        """See `Ledger.append`."""
        return self.append_all((decision,))[0]

    def append_all(
        self, decisions: Sequence[Decision], *, unless_newer: UnlessNewer | None = None
    ) -> tuple[LedgerEntry, ...]:
        """See `Ledger.append_all`."""
        ready = prepared(decisions)
        if not ready:
            return ()
        with self._lock:
            if unless_newer is not None:
                known = self._entries[unless_newer.seq :]
                newer = next((entry for entry in known if entry.kind in unless_newer.kinds), None)
                if newer is not None:
                    raise newer_entry(unless_newer, newer)
            added = chained(self._entries[-1] if self._entries else None, ready, self._clock())
            self._evidence.update(
                {evidence.digest: evidence.content for _, evidence in ready if evidence is not None}
            )
            self._entries.extend(added)
        return added

    def entries(
        self,
        *,
        kinds: Collection[EntryKind] = (),
        subject: str | None = None,
        after_seq: int = 0,
        until: datetime | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> Iterator[LedgerEntry]:
        """See `Ledger.entries`."""
        checked_until(until)
        with self._lock:
            known = self._entries[max(after_seq, 0) :]
        found = (
            entry
            for entry in (reversed(known) if newest_first else known)
            if (not kinds or entry.kind in kinds)
            and (subject is None or entry.subject == subject)
            and (until is None or entry.at <= until)
        )
        return islice(found, limit)

    def evidence(self, digest: str) -> Mapping[str, Any]:
        """See `Ledger.evidence`."""
        with self._lock:
            content = self._evidence.get(digest)
        if content is None:
            raise NotFoundError(f"no evidence is stored under {digest}")
        return read_evidence(digest, content)

    def last(self) -> LedgerEntry | None:
        """See `Ledger.last`."""
        with self._lock:
            return self._entries[-1] if self._entries else None

    def stored(self, *, after_seq: int = 0) -> Iterator[StoredEntry]:
        """See `Ledger.stored`."""
        for entry in self.entries(after_seq=after_seq):
            digest = entry.evidence_digest
            with self._lock:
                content = None if digest is None else self._evidence.get(digest)
            yield StoredEntry(entry.seq, entry, content)
