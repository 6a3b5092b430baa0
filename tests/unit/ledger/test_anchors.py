from __future__ import annotations

import logging

import pytest

from streamrec.contracts.errors import ArtifactError, DependencyError, DocumentRefusedError, InvalidInputError
from streamrec.documents.keys import MemoryKeyRing
from streamrec.documents.memory_store import MemoryDocumentStore
from streamrec.documents.publisher import DocumentPublisher
from streamrec.ledger.anchors import LEDGER_ANCHOR, AnchoredLedger, write_anchor
from streamrec.ledger.memory_ledger import MemoryLedger
from tests.unit.ledger.made_ledger import decided, ledger_of


class SometimesFull(MemoryDocumentStore):
    full = False

    def replace(self, content, expected_tag):
        if self.full:
            raise DependencyError("disk full")
        super().replace(content, expected_tag)


@pytest.fixture
def store():
    return SometimesFull()


@pytest.fixture
def publisher(store):
    return DocumentPublisher(store, LEDGER_ANCHOR, MemoryKeyRing())


def test_an_anchor_says_how_the_ledger_ends(publisher):
    ledger = ledger_of(3)
    anchor = write_anchor(ledger, publisher)
    assert (anchor.seq, anchor.hash) == (3, ledger.last().hash)
    assert publisher.published().value == anchor


def test_an_empty_ledger_has_no_anchor(publisher):
    assert write_anchor(MemoryLedger(), publisher) is None
    assert publisher.published() is None


def test_an_anchor_follows_the_one_before_and_the_same_end_needs_no_new_one(publisher):
    ledger = ledger_of(3)
    first = write_anchor(ledger, publisher)
    assert write_anchor(ledger, publisher) == first
    ledger.append(decided())
    second = write_anchor(ledger, publisher)
    assert (second.seq, second.revision > first.revision) == (4, True)


def test_who_comes_second_anchors_the_end_that_is_there_by_then():
    keys = MemoryKeyRing()
    ledger = ledger_of(3)

    class Overtaken(MemoryDocumentStore):
        def replace(self, content, expected_tag):
            if ledger.last().seq == 3:
                ledger.append(decided())
                write_anchor(ledger, DocumentPublisher(self, LEDGER_ANCHOR, keys))
            super().replace(content, expected_tag)

    publisher = DocumentPublisher(Overtaken(), LEDGER_ANCHOR, keys)
    assert write_anchor(ledger, publisher).seq == 4
    assert publisher.published().value.seq == 4


@pytest.mark.parametrize("entries", [0, 2, 3, 6])
def test_a_ledger_that_was_cut_or_computed_anew_is_not_anchored(publisher, entries):
    write_anchor(ledger_of(4), publisher)
    other = MemoryLedger()
    for _ in range(entries):
        other.append(decided("other"))
    with pytest.raises(ArtifactError, match="no longer holds entry 4"):
        write_anchor(other, publisher)
    assert publisher.published().value.seq == 4


def test_what_no_trusted_key_has_signed_is_not_replaced(publisher, store):
    write_anchor(ledger_of(2), publisher)
    stranger = DocumentPublisher(MemoryDocumentStore(), LEDGER_ANCHOR, MemoryKeyRing())
    write_anchor(ledger_of(1), stranger)
    store.overwrite(stranger.published().content)
    with pytest.raises(DocumentRefusedError):
        write_anchor(ledger_of(3), publisher)


def test_every_append_is_anchored(publisher):
    ledger = AnchoredLedger(MemoryLedger(), publisher)
    for _ in range(3):
        entry = ledger.append(decided())
        assert publisher.published().value.hash == entry.hash


def test_the_end_is_anchored_when_so_many_were_added(publisher):
    ledger = AnchoredLedger(MemoryLedger(), publisher, every_entries=3)
    anchored = []
    for _ in range(4):
        ledger.append(decided())
        published = publisher.published()
        anchored.append(published and published.value.seq)
    ledger.append_all([decided()] * 4)
    assert [*anchored, publisher.published().value.seq] == [None, None, 3, 3, 8]
    with pytest.raises(InvalidInputError, match="every_entries"):
        AnchoredLedger(MemoryLedger(), publisher, every_entries=0)


def test_an_entry_stays_where_its_anchor_cannot_be_written_and_the_next_anchors_both(
    publisher, store, caplog
):
    ledger = AnchoredLedger(MemoryLedger(), publisher)
    ledger.append(decided())
    store.full = True
    with caplog.at_level(logging.ERROR):
        entry = ledger.append(decided())
    assert ledger.last() == entry
    assert publisher.published().value.seq == 1
    assert "entry 2 of the ledger is not anchored: disk full" in caplog.text
    store.full = False
    ledger.append(decided())
    assert publisher.published().value.seq == 3


def test_an_anchored_ledger_reads_what_it_wraps(publisher):
    inner = ledger_of(4)
    ledger = AnchoredLedger(inner, publisher)
    assert list(ledger.entries(after_seq=1, newest_first=True, limit=2)) == [
        entry for entry in reversed(list(inner.entries())) if entry.seq > 2
    ]
    assert list(ledger.stored(after_seq=2)) == list(inner.stored(after_seq=2))
    digest = next(inner.entries(after_seq=1)).evidence_digest
    assert ledger.evidence(digest) == inner.evidence(digest)
