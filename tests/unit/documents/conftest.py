"""Keys, and a kind of document that says nothing in particular."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.documents.document_kind import DocumentKind
from streamrec.documents.file_store import FileDocumentStore
from streamrec.documents.follower import DocumentFollower
from streamrec.documents.keys import MemoryKeyRing
from streamrec.documents.memory_store import MemoryDocumentStore
from streamrec.documents.signed_form import sign

SCHEMA = "streamrec.example.v1"


def parse_text(document):
    text = document.get("text")
    if not isinstance(text, str):
        raise InvalidInputError("text", "must be text")
    return text


@pytest.fixture
def kind():
    return DocumentKind(SCHEMA, parse_text, maximum_bytes=4_096)


@pytest.fixture
def keys():
    return MemoryKeyRing()


@pytest.fixture
def signed(keys):
    """Makes the bytes of a signed document."""

    def make(revision=1, text="good", *, key=None, **fields):
        document = {"schema": SCHEMA, "revision": revision, "text": text, **fields}
        return sign(document, key or keys.signing_key())

    return make


@pytest.fixture(params=["memory", "file"])
def source(request, tmp_path):
    """Where the document lies, and a way to put anything there."""
    if request.param == "memory":
        store = MemoryDocumentStore()
        return SimpleNamespace(store=store, put=store.overwrite)
    path = tmp_path / "document.json"
    return SimpleNamespace(store=FileDocumentStore(path), put=path.write_bytes)


@pytest.fixture
def copy(tmp_path):
    return FileDocumentStore(tmp_path / "copies" / "document.json")


@pytest.fixture
def follower(source, kind, keys):
    return DocumentFollower(source.store, kind, keys)
