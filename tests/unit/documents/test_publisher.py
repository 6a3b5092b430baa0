from __future__ import annotations

import logging

import pytest

from streamrec.contracts.errors import ConflictError, DependencyError, DocumentRefusedError, InvalidInputError
from streamrec.documents.file_store import FileDocumentStore
from streamrec.documents.memory_store import MemoryDocumentStore
from streamrec.documents.publisher import DocumentPublisher
from streamrec.documents.signed_form import HIGHEST_REVISION
from streamrec.documents.signing import SigningKey

NOW_S = 1_000.0
NOW = 1_000_000
"""The revision of what is published then."""


@pytest.fixture
def store():
    return MemoryDocumentStore()


@pytest.fixture
def publisher(store, kind, keys):
    return DocumentPublisher(store, kind, keys, clock=lambda: 0.0)


def test_revisions_follow_each_other_and_the_signed_document_is_read_back(publisher):
    assert publisher.published() is None
    for revision, text in enumerate(("first", "second", "third"), start=1):
        document = publisher.publish({"text": text}, expected_revision=revision - 1)
        assert (document.revision, document.value) == (revision, text)
        assert publisher.published() == document


def test_whoever_decided_on_another_revision_is_told_and_nothing_is_done(publisher):
    first = publisher.publish({"text": "first"}, expected_revision=0)
    for expected in (0, 2, 99):
        with pytest.raises(ConflictError, match="read it again"):
            publisher.publish({"text": "late"}, expected_revision=expected)
    assert publisher.published() == first
    assert ConflictError.retryable


def test_of_two_that_read_the_same_revision_the_second_is_told(store, publisher, kind, keys):
    publisher.publish({"text": "first"}, expected_revision=0)

    class Rival(MemoryDocumentStore):
        """Somebody publishes between the look and the replacement."""

        def read(self, maximum_bytes, known_tag=None):
            found = store.read(maximum_bytes, known_tag)
            publisher.publish({"text": "rival"}, expected_revision=1)
            return found

        replace = staticmethod(store.replace)

    slow = DocumentPublisher(Rival(), kind, keys, clock=lambda: 0.0)
    with pytest.raises(ConflictError):
        slow.publish({"text": "slow"}, expected_revision=1)
    assert publisher.published().value == "rival"


@pytest.mark.parametrize("content", [b"garbage", b"x" * 10_000_000, b'{"text":"unsigned"}'])
def test_what_every_replica_refuses_is_replaced_with_a_revision_above_any_before(
    store, kind, keys, content, caplog
):
    publisher = DocumentPublisher(store, kind, keys, clock=lambda: NOW_S)
    before = publisher.publish({"text": "good"}, expected_revision=0)
    assert before.revision == NOW
    store.overwrite(content)
    with pytest.raises(DocumentRefusedError):
        publisher.published()
    with pytest.raises(ConflictError, match="none that is good"):
        publisher.publish({"text": "next"}, expected_revision=NOW)
    later = DocumentPublisher(store, kind, keys, clock=lambda: NOW_S + 0.001)
    with caplog.at_level(logging.WARNING):
        assert later.publish({"text": "next"}, expected_revision=0).revision == NOW + 1
    assert "is replaced" in caplog.text


def test_a_document_that_came_back_from_an_old_backup_is_followed_by_a_newer_one_than_any(store, kind, keys):
    backup = DocumentPublisher(store, kind, keys, clock=lambda: NOW_S).publish(
        {"text": "a"}, expected_revision=0
    )
    for number in range(3):
        DocumentPublisher(store, kind, keys, clock=lambda: NOW_S).publish(
            {"text": "b"}, expected_revision=NOW + number
        )
    store.overwrite(backup.content)
    after = DocumentPublisher(store, kind, keys, clock=lambda: NOW_S + 60.5)
    assert after.publish({"text": "c"}, expected_revision=NOW).revision == NOW + 60_500


def test_a_clock_that_goes_back_does_not_stop_revisions_from_rising(store, kind, keys):
    DocumentPublisher(store, kind, keys, clock=lambda: NOW_S).publish({"text": "a"}, expected_revision=0)
    back = DocumentPublisher(store, kind, keys, clock=lambda: -5.0)
    assert back.publish({"text": "b"}, expected_revision=NOW).revision == NOW + 1


def test_a_document_of_a_revoked_key_is_replaced_by_one_of_the_new_key(publisher, keys):
    old = keys.signing_key()
    first = publisher.publish({"text": "first"}, expected_revision=0)
    keys.rotate()
    assert publisher.published() == first, "the old key is trusted still"
    keys.revoke(old.key_id)
    with pytest.raises(DocumentRefusedError, match="revoked"):
        publisher.published()
    assert publisher.publish({"text": "second"}, expected_revision=0).value == "second"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "text: must be text"),
        ({"text": 3}, "text: must be text"),
        ({"text": "x" * 5_000}, "too_large"),
        ({"text": "x", "share": float("nan")}, "share"),
        ({"text": "x", "schema": "streamrec.other.v1"}, "schema: is added"),
        ({"text": "x", "revision": 9}, "revision: is added"),
        ({"text": "x", "signature": {}}, "signature: is added"),
    ],
)
def test_what_replicas_would_refuse_is_not_published(publisher, store, body, problem):
    with pytest.raises(InvalidInputError, match=problem):
        publisher.publish(body, expected_revision=0)
    assert store.read(10).name == "MISSING"


def test_a_key_that_replicas_do_not_trust_signs_nothing(publisher, keys, monkeypatch):
    monkeypatch.setattr(keys, "signing_key", SigningKey.generate)
    with pytest.raises(InvalidInputError, match="unknown_key"):
        publisher.publish({"text": "x"}, expected_revision=0)


def test_after_the_highest_revision_there_is_none(store, kind, keys, signed):
    store.overwrite(signed(HIGHEST_REVISION))
    publisher = DocumentPublisher(store, kind, keys, clock=lambda: NOW_S)
    with pytest.raises(InvalidInputError, match="revision"):
        publisher.publish({"text": "x"}, expected_revision=HIGHEST_REVISION)


def test_a_store_that_cannot_be_written_is_a_temporary_error(kind, keys, tmp_path):
    (tmp_path / "file").touch()
    publisher = DocumentPublisher(FileDocumentStore(tmp_path / "file" / "x.json"), kind, keys)
    with pytest.raises(DependencyError):
        publisher.publish({"text": "x"}, expected_revision=0)
