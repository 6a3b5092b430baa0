"""Anchors: how the ledger ended, signed and kept where who can change the ledger cannot change it.

An anchor lies wherever a `DocumentStore` can put it: in a file on another machine's disk, in a tag of the
model registry. A new one follows only where the ledger still holds what the old one says, so that anchoring
never covers up what it is there to show.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from streamrec.contracts.errors import ArtifactError, ConflictError, InvalidInputError, StreamRecError
from streamrec.contracts.ledger_entry import LEDGER_ANCHOR_SCHEMA, EntryKind, LedgerAnchor, LedgerEntry
from streamrec.documents.document_kind import DocumentKind
from streamrec.documents.keys import KeyReader
from streamrec.documents.publisher import DocumentPublisher
from streamrec.documents.store import DocumentSource, NoContent
from streamrec.ledger.ledger import Decision, Ledger, StoredEntry, UnlessNewer
from streamrec.ledger.memory_ledger import utc_now

_LOG = logging.getLogger(__name__)

LEDGER_ANCHOR: Final = DocumentKind(LEDGER_ANCHOR_SCHEMA, LedgerAnchor.from_json, maximum_bytes=4_096)

_ATTEMPTS: Final = 20
"""So often others may be quicker. Each of them has anchored a newer end, so one attempt mostly does."""


def write_anchor(
    ledger: Ledger, publisher: DocumentPublisher[LedgerAnchor], *, sign_again: bool = False
) -> LedgerAnchor | None:
    """Anchor the end of the ledger; returns what is anchored now, None where the ledger is empty.

    Args:
        ledger: Whose end.
        publisher: Where the anchor lies, and who signs it.
        sign_again: Also where that end is anchored already: with the key that signs now.

    Raises:
        ArtifactError: The ledger no longer holds what was anchored before; the anchor stays as it is.
        DocumentRefusedError: What lies there is no anchor that a trusted key has signed; it stays too.
        ConflictError: Others anchored again and again meanwhile.
        TemporaryError: The ledger cannot be read, or the anchor cannot be written.
    """
    for _ in range(_ATTEMPTS):
        published = publisher.published()
        last = ledger.last()  # later than the anchor was read: an intact ledger ends there or behind it
        if published is not None:
            _check(ledger, published.value)
            if last is not None and last.seq == published.value.seq and not sign_again:
                return published.value
        if last is None:
            return None
        body = {"seq": last.seq, "hash": last.hash, "at": utc_now().isoformat().replace("+00:00", "Z")}
        try:
            revision = 0 if published is None else published.revision
            return publisher.publish(body, expected_revision=revision).value
        except ConflictError:
            continue
    raise ConflictError("others anchored the ledger again and again meanwhile; try again")


def read_anchor(source: DocumentSource, keys: KeyReader) -> LedgerAnchor | None:
    """Read the anchor that lies at a place; None where there is none.

    Raises:
        DocumentRefusedError: What lies there was not signed by a key that counts, or is no anchor.
        InvalidInputError: The trusted keys are damaged.
        DependencyError: It, or the keys, cannot be read.
    """
    stored = source.read(LEDGER_ANCHOR.maximum_bytes)
    return None if isinstance(stored, NoContent) else LEDGER_ANCHOR.read(stored.content, keys.trusted()).value


def _check(ledger: Ledger, anchor: LedgerAnchor) -> None:
    found = next(ledger.entries(after_seq=anchor.seq - 1, limit=1), None)
    if found is None or found.seq != anchor.seq or found.hash != anchor.hash:
        raise ArtifactError(
            f"the ledger no longer holds entry {anchor.seq} as it was anchored at "
            f"{anchor.at:%Y-%m-%d %H:%M:%S} UTC: 'streamrec ledger verify' says more"
        )


class AnchoredLedger:
    """A `Ledger` whose end is anchored again whenever so many entries were added.

    An entry that was appended stays appended where its anchor cannot be written: that is logged, and the next
    entry anchors both.
    """

    def __init__(
        self, ledger: Ledger, publisher: DocumentPublisher[LedgerAnchor], *, every_entries: int = 1
    ) -> None:
        """Wrap a ledger.

        Args:
            ledger: Holds the entries.
            publisher: Where the anchor lies, and who signs it.
            every_entries: 1 anchors each append; n leaves up to n - 1 entries whose loss would not be seen.

        Raises:
            InvalidInputError: ``every_entries`` is below 1.
        """
        if every_entries < 1:
            raise InvalidInputError("every_entries", "must be 1 or more")
        self._ledger = ledger
        self._publisher = publisher
        self._every = every_entries

    def append(self, decision: Decision) -> LedgerEntry:
        """See `Ledger.append`."""
        return self.append_all((decision,))[0]

    def append_all(
        self, decisions: Sequence[Decision], *, unless_newer: UnlessNewer | None = None
    ) -> tuple[LedgerEntry, ...]:
        """See `Ledger.append_all`."""
        added = self._ledger.append_all(decisions, unless_newer=unless_newer)
        if added and added[-1].seq // self._every > (added[0].seq - 1) // self._every:
            try:
                write_anchor(self._ledger, self._publisher)
            except StreamRecError as error:
                _LOG.error("entry %d of the ledger is not anchored: %s", added[-1].seq, error)
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
        return self._ledger.entries(
            kinds=kinds,
            subject=subject,
            after_seq=after_seq,
            until=until,
            newest_first=newest_first,
            limit=limit,
        )

    def evidence(self, digest: str) -> Mapping[str, Any]:
        """See `Ledger.evidence`."""
        return self._ledger.evidence(digest)

    def last(self) -> LedgerEntry | None:
        """See `Ledger.last`."""
        return self._ledger.last()

    def stored(self, *, after_seq: int = 0) -> Iterator[StoredEntry]:
        """See `Ledger.stored`."""
        return self._ledger.stored(after_seq=after_seq)
