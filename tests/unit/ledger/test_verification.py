from __future__ import annotations

from dataclasses import replace

import pytest

from streamrec.contracts.ledger_entry import LedgerAnchor, LedgerEntry
from streamrec.ledger.ledger import StoredEntry
from streamrec.ledger.verification import Damage, verify
from tests.unit.ledger.made_ledger import NOON, ledger_of


@pytest.fixture
def stored() -> list[StoredEntry]:
    return list(ledger_of(8).stored())


def anchor_at(one: StoredEntry) -> LedgerAnchor:
    assert one.entry is not None
    return LedgerAnchor(1, one.seq, one.entry.hash, NOON)


def with_entry(one: StoredEntry, **fields) -> StoredEntry:
    assert one.entry is not None
    return replace(one, entry=replace(one.entry, **fields))


def computed_anew(stored: list[StoredEntry]) -> list[StoredEntry]:
    """What somebody does who knows the format: every number, link and hash is right again."""
    last: LedgerEntry | None = None
    anew = []
    for one in stored:
        entry = one.entry
        assert entry is not None
        last = LedgerEntry.following(
            last,
            at=entry.at,
            actor=entry.actor,
            role=entry.role,
            kind=entry.kind,
            subject=entry.subject,
            reason=entry.reason,
            evidence_digest=entry.evidence_digest,
        )
        anew.append(StoredEntry(last.seq, last, one.evidence))
    return anew


def test_what_nobody_touched_verifies(stored):
    found = verify(stored)
    assert (found.entries, found.last, found.bad, found.anchored) == (8, stored[-1].entry, None, 0)


def test_an_empty_ledger_verifies():
    found = verify([])
    assert (found.entries, found.last, found.bad) == (0, None, None)


@pytest.mark.parametrize("place", [0, 3, 7])
def test_an_edited_entry_is_named(stored, place):
    stored[place] = with_entry(stored[place], actor="somebody else")
    found = verify(stored)
    assert (found.entries, found.bad.seq, found.bad.damage) == (place, place + 1, Damage.CHAIN_BROKEN)


def test_a_deleted_entry_is_named(stored):
    del stored[4]
    found = verify(stored)
    assert (found.bad.seq, found.bad.damage) == (5, Damage.CHAIN_BROKEN)
    assert "is missing" in found.bad.problem


def test_the_first_of_two_exchanged_entries_is_named(stored):
    third, fifth = stored[2], stored[4]
    stored[2], stored[4] = with_entry(fifth, seq=3), with_entry(third, seq=5)
    assert verify(stored).bad.seq == 3


@pytest.mark.parametrize(
    ("evidence", "damage"), [(None, Damage.EVIDENCE_MISSING), (b'{"share":0.6}', Damage.EVIDENCE_CHANGED)]
)
def test_an_entry_without_its_evidence_is_named(stored, evidence, damage):
    stored[3] = replace(stored[3], evidence=evidence)
    found = verify(stored)
    assert (found.entries, found.bad.seq, found.bad.damage) == (3, 4, damage)


def test_an_entry_whose_digest_was_edited_is_an_edited_entry(stored):
    stored[3] = with_entry(stored[3], evidence_digest="ab" * 32)
    assert verify(stored).bad.damage is Damage.CHAIN_BROKEN


def test_of_two_bad_entries_the_first_is_named(stored):
    stored[3] = replace(stored[3], evidence=None)
    stored[5] = with_entry(stored[5], actor="somebody else")
    assert verify(stored).bad.seq == 4
    stored[2] = with_entry(stored[2], actor="somebody else")
    assert verify(stored).bad.seq == 3


def test_an_entry_that_cannot_be_read_is_named_with_its_problem(stored):
    stored[5] = StoredEntry(6, None, None, "entry 6 of the ledger cannot be read: 'guessed' is no kind")
    found = verify(stored)
    assert (found.entries, found.bad.seq, found.bad.damage) == (5, 6, Damage.UNREADABLE)
    assert "'guessed' is no kind" in found.bad.problem


def test_text_that_has_no_canonical_form_is_named(stored):
    stored[5] = with_entry(stored[5], actor="\udcff")
    found = verify(stored)
    assert (found.entries, found.bad.seq, found.bad.damage) == (5, 6, Damage.UNREADABLE)


def test_a_cut_tail_is_seen_by_the_anchor_alone(stored):
    anchor = anchor_at(stored[6])
    assert verify(stored[:6]).bad is None
    found = verify(stored[:6], [anchor])
    assert (found.entries, found.bad.seq, found.bad.damage) == (6, 7, Damage.TAIL_CUT)
    assert "ended with entry 7" in found.bad.problem
    assert "2026-03-01 12:00:00 UTC" in found.bad.problem
    emptied = verify([], [anchor])
    assert (emptied.bad.seq, emptied.bad.damage) == (1, Damage.TAIL_CUT)


def test_a_chain_that_was_computed_anew_is_seen_by_the_anchor_alone(stored):
    before = [anchor_at(stored[1]), anchor_at(stored[5])]
    stored[3] = with_entry(stored[3], actor="somebody else")
    anew = computed_anew(stored)
    assert verify(anew).bad is None
    found = verify(anew, before)
    assert (found.bad.seq, found.bad.damage, found.anchored) == (6, Damage.NOT_AS_ANCHORED, 2)
    assert "after entry 2, the chain was computed anew" in found.bad.problem


def test_entries_behind_the_anchor_are_no_fault(stored):
    found = verify(stored, [anchor_at(stored[7]), anchor_at(stored[2]), anchor_at(stored[2])])
    assert (found.bad, found.anchored) == (None, 8)
