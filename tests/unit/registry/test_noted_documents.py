from __future__ import annotations

import pytest

from streamrec.contracts.errors import ConflictError, InvalidInputError
from streamrec.documents.store import NoContent, StoredContent
from streamrec.registry.memory_registry import MemoryModelRegistry
from streamrec.registry.noted_documents import NotedDocumentStore


@pytest.fixture
def registry(tmp_path):
    return MemoryModelRegistry(tmp_path)


@pytest.fixture
def store(registry):
    return NotedDocumentStore(registry, "streamrec.anchor")


def test_there_is_none_before_the_first(store):
    assert store.read(100) is NoContent.MISSING


def test_what_was_put_there_is_read_and_known_by_its_tag(store, registry):
    store.replace("é".encode(), None)
    stored = store.read(100)
    assert isinstance(stored, StoredContent)
    assert stored.content == "é".encode()
    assert store.read(100, stored.tag) is NoContent.UNCHANGED
    assert registry.note("streamrec.anchor") == "é"


def test_only_the_version_that_is_expected_is_replaced(store):
    store.replace(b"one", None)
    with pytest.raises(ConflictError):
        store.replace(b"two", None)
    tag = store.read(100).tag
    store.replace(b"two", tag)
    with pytest.raises(ConflictError):
        store.replace(b"three", tag)
    assert store.read(100).content == b"two"


def test_a_longer_document_is_read_as_too_long_and_none_is_written_that_a_note_cannot_hold(store):
    store.replace(b"x" * 5_000, None)
    assert len(store.read(10).content) == 11
    with pytest.raises(InvalidInputError, match="5,001"):
        store.replace(b"x" * 5_001, store.read(10).tag)
