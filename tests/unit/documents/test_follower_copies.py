"""The copy on disk that a replica starts with."""

from __future__ import annotations

import logging

import pytest

from streamrec.documents.document_kind import DocumentKind
from streamrec.documents.file_store import FileDocumentStore
from streamrec.documents.follower import DocumentFollower
from streamrec.documents.keys import MemoryKeyRing
from streamrec.documents.memory_store import MemoryDocumentStore
from streamrec.documents.refusals import Refusal
from streamrec.documents.signed_form import sign
from tests.unit.documents.following import SwitchedKeys, in_force


def test_a_copy_that_cannot_be_read_because_of_a_defect_stops_nothing(copy, keys):
    kind = DocumentKind("streamrec.example.v1", lambda document: 1 / document["divisor"])

    def signed(revision, divisor):
        return sign({"schema": kind.schema, "revision": revision, "divisor": divisor}, keys.signing_key())

    copy.replace(signed(1, 0), None)
    store = MemoryDocumentStore()
    store.overwrite(signed(2, 4))
    follower = DocumentFollower(store, kind, keys, copy=copy)
    for _ in range(3):
        follower.refresh()
    assert in_force(follower) == (2, 0.25)
    assert follower.refusals == {Refusal.DEFECT: 1}


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_a_replica_that_restarts_without_a_good_source_starts_with_its_copy(
    copy, kind, keys, signed, content
):
    store = MemoryDocumentStore()
    store.overwrite(signed(4))
    DocumentFollower(store, kind, keys, copy=copy).refresh()
    store.overwrite(content)
    again = DocumentFollower(store, kind, keys, copy=copy)
    assert in_force(again) == (4, "good")
    assert again.refresh() is False
    assert in_force(again) == (4, "good")


def test_what_is_older_than_the_copy_is_refused_after_a_restart_too(copy, kind, keys, signed):
    store = MemoryDocumentStore()
    store.overwrite(signed(4))
    DocumentFollower(store, kind, keys, copy=copy).refresh()
    store.overwrite(signed(3, "old"))
    again = DocumentFollower(store, kind, keys, copy=copy)
    assert again.refresh() is False
    assert in_force(again) == (4, "good")
    assert again.refusals == {Refusal.OLDER_REVISION: 1}


def test_the_copy_follows_every_new_revision(copy, kind, keys, signed):
    store = MemoryDocumentStore()
    follower = DocumentFollower(store, kind, keys, copy=copy)
    for revision in (1, 2):
        store.overwrite(signed(revision))
        follower.refresh()
        assert copy.read(4_096).content == signed(revision)


def test_a_copy_is_verified_again_when_it_is_read(tmp_path, copy, kind, keys, signed):
    store = MemoryDocumentStore()
    store.overwrite(signed(4))
    DocumentFollower(store, kind, keys, copy=copy).refresh()
    path = tmp_path / "copies" / "document.json"
    path.write_bytes(path.read_bytes().replace(b"good", b"evil"))
    again = DocumentFollower(MemoryDocumentStore(), kind, keys, copy=copy)
    assert again.current is None
    again.refresh()
    assert again.refusals == {Refusal.WRONG_SIGNATURE: 1}


def test_a_damaged_copy_is_replaced_by_the_next_good_document(tmp_path, copy, kind, keys, signed):
    path = tmp_path / "copies" / "document.json"
    path.parent.mkdir()
    path.write_bytes(b"damaged")
    store = MemoryDocumentStore()
    store.overwrite(signed(4))
    assert DocumentFollower(store, kind, keys, copy=copy).refresh() is True
    assert path.read_bytes() == signed(4)


def test_a_copy_whose_key_was_revoked_is_not_started_with(copy, kind, keys, signed):
    store = MemoryDocumentStore()
    store.overwrite(signed(4))
    DocumentFollower(store, kind, keys, copy=copy).refresh()
    old = keys.signing_key()
    keys.rotate()
    keys.revoke(old.key_id)
    again = DocumentFollower(MemoryDocumentStore(), kind, keys, copy=copy)
    assert again.current is None
    assert again.refusals == {Refusal.REVOKED_KEY: 1}


def test_a_copy_that_another_replica_brought_further_is_left_alone(copy, kind, keys, signed):
    copy.replace(signed(9), None)
    behind = MemoryDocumentStore()
    follower = DocumentFollower(behind, kind, keys, copy=copy)
    ahead = signed(12)
    copy.replace(ahead, copy.read(4_096).tag)
    behind.overwrite(signed(10))
    follower.refresh()
    assert in_force(follower) == (10, "good")
    assert copy.read(4_096).content == ahead


def test_a_copy_that_cannot_be_written_stops_nothing_and_is_tried_again(tmp_path, kind, keys, signed, caplog):
    (tmp_path / "copies").touch()
    copy = FileDocumentStore(tmp_path / "copies" / "document.json")
    store = MemoryDocumentStore()
    store.overwrite(signed(4))
    follower = DocumentFollower(store, kind, keys, copy=copy)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            follower.refresh()
    assert in_force(follower) == (4, "good")
    assert caplog.text.count("no copy could be kept") == 1
    (tmp_path / "copies").unlink()
    follower.refresh()
    assert copy.read(4_096).content == signed(4)


def test_a_copy_that_could_not_be_read_at_the_start_counts_as_soon_as_it_can(copy, kind, keys, signed):
    copy.replace(signed(4), None)
    reader = SwitchedKeys(MemoryKeyRing().trusted)
    store = MemoryDocumentStore()
    store.overwrite(signed(3, "old"))
    follower = DocumentFollower(store, kind, reader, copy=copy)
    assert follower.refresh() is False
    assert follower.current is None
    reader.trusted = keys.trusted
    assert follower.refresh() is True
    assert in_force(follower) == (4, "good")
