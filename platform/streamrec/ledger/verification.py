"""Is the ledger what it was? Every entry, its evidence, and the end that was anchored, in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.ledger_entry import LedgerAnchor, LedgerEntry, verify_chain
from streamrec.contracts.progress import Progress, SilentProgress
from streamrec.ledger.ledger import StoredEntry, evidence_digest

_STEP: Final = 10_000
"""Entries between two steps of the progress."""


class Damage(StrEnum):
    """What is wrong, for programs."""

    UNREADABLE = "entry_unreadable"
    """A row holds what no entry holds."""

    CHAIN_BROKEN = "chain_broken"
    """An entry was edited, left out, put in or moved."""

    EVIDENCE_MISSING = "evidence_missing"
    EVIDENCE_CHANGED = "evidence_changed"

    NOT_AS_ANCHORED = "not_as_anchored"
    """The chain holds in itself, but it is another one than the one that was anchored."""

    TAIL_CUT = "tail_cut"
    """Entries that were anchored are no longer there."""


@dataclass(frozen=True, slots=True)
class BadEntry:
    """The first entry that is not what it was.

    Attributes:
        seq: Its number.
        damage: What is wrong.
        problem: In words; begins with a verb: "entry 5 ...".
    """

    seq: int
    damage: Damage
    problem: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found.

    Attributes:
        entries: How many entries are as they were, from the first one on.
        last: The last of these; None where there is none.
        bad: The first one that is not; None where every one is.
        anchored: Number of the newest entry that an anchor confirms; 0 where none does.
    """

    entries: int
    last: LedgerEntry | None
    bad: BadEntry | None
    anchored: int


def verify(
    stored: Iterable[StoredEntry],
    anchors: Sequence[LedgerAnchor] = (),
    progress: Progress | None = None,
) -> Verification:
    """Find the first entry that is not what was appended.

    Memory does not grow with the ledger. Without an anchor, a tail that was cut off, and a chain that
    somebody has computed anew from some entry on, cannot be seen.

    Args:
        stored: By rising number, from the first entry on.
        anchors: Of this ledger, from places that whoever could change it cannot change.
        progress: Counts entries.
    """
    walk = _Walk(stored, anchors, progress or SilentProgress())
    try:
        chain_break = verify_chain(walk.entries())
    except InvalidInputError as error:  # what it holds could not even be hashed
        walk.note(Damage.UNREADABLE, walk.seq + 1, f"holds what cannot be hashed: {error}")
        chain_break = None
    if chain_break is not None:
        walk.note(Damage.CHAIN_BROKEN, chain_break.seq, chain_break.problem)
    elif walk.bad is None:
        walk.look_for_a_cut_tail()
    return Verification(walk.seq, walk.last, walk.bad, walk.anchored)


class _Walk:
    """Gives `verify_chain` one entry after the other, and checks each when the chain has accepted it."""

    def __init__(
        self, stored: Iterable[StoredEntry], anchors: Sequence[LedgerAnchor], progress: Progress
    ) -> None:
        self._stored = stored
        self._anchors = sorted(anchors, key=lambda anchor: anchor.seq)
        self._progress = progress
        self.seq = 0
        self.last: LedgerEntry | None = None
        self.bad: BadEntry | None = None
        self.anchored = 0
        self._next_anchor = 0

    def note(self, damage: Damage, seq: int, problem: str) -> None:
        """Remember what is wrong first."""
        self.bad = BadEntry(seq, damage, problem)

    def entries(self) -> Iterator[LedgerEntry]:
        """Yield until something is wrong that the chain does not show."""
        for one in self._stored:
            if one.entry is None:
                self.note(Damage.UNREADABLE, one.seq, one.problem)
                return
            yield one.entry
            self._check_evidence(one.entry, one.evidence)
            self._check_anchors(one.entry)
            if self.bad is not None:
                return
            self.seq, self.last = one.entry.seq, one.entry
            if self.seq % _STEP == 0:
                self._progress.advance(_STEP)
        self._progress.advance(self.seq % _STEP)

    def look_for_a_cut_tail(self) -> None:
        """All that is there is right; is all there?"""
        left = self._anchors[self._next_anchor :]
        if left:
            newest = left[-1]
            self.note(
                Damage.TAIL_CUT,
                self.seq + 1,
                f"is missing, and all after it: when the ledger was anchored at {_time(newest)} it ended "
                f"with entry {newest.seq}, and now it ends with {self.seq or 'none'}",
            )

    def _check_evidence(self, entry: LedgerEntry, content: bytes | None) -> None:
        digest = entry.evidence_digest
        if digest is None:
            return
        if content is None:
            self.note(Damage.EVIDENCE_MISSING, entry.seq, f"names the evidence {digest}, which is missing")
        elif evidence_digest(content) != digest:
            self.note(
                Damage.EVIDENCE_CHANGED, entry.seq, f"names the evidence {digest}, which was changed since"
            )

    def _check_anchors(self, entry: LedgerEntry) -> None:
        while self._next_anchor < len(self._anchors) and self._anchors[self._next_anchor].seq == entry.seq:
            anchor = self._anchors[self._next_anchor]
            if anchor.hash != entry.hash:
                since = f"after entry {self.anchored}, " if self.anchored else ""
                self.note(
                    Damage.NOT_AS_ANCHORED,
                    entry.seq,
                    f"is not the one that was anchored at {_time(anchor)}: {since}the chain was computed "
                    "anew",
                )
                return
            self.anchored = entry.seq
            self._next_anchor += 1


def _time(anchor: LedgerAnchor) -> str:
    return f"{anchor.at:%Y-%m-%d %H:%M:%S} UTC"
