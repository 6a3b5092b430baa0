from __future__ import annotations

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamrec.contracts.errors import DependencyError, InvalidInputError
from streamrec.documents.document_kind import DocumentKind
from streamrec.documents.follower import DocumentFollower
from streamrec.documents.memory_store import MemoryDocumentStore
from streamrec.documents.refusals import Refusal
from streamrec.documents.signed_form import sign
from streamrec.documents.signing import SigningKey
from tests.unit.documents.following import in_force


def test_nothing_is_in_force_before_there_is_a_document(follower):
    assert follower.refresh() is False
    assert in_force(follower) is None
    assert follower.refusals == {}


def test_newer_revisions_take_the_place_of_older_ones(follower, source, signed):
    for revision in (1, 2, 9):
        source.put(signed(revision, f"text {revision}"))
        assert follower.refresh() is True
        assert in_force(follower) == (revision, f"text {revision}")
        assert follower.refresh() is False
    assert follower.refusals == {}


def test_an_unchanged_document_is_not_read_again(follower, source, signed, monkeypatch):
    source.put(signed())
    follower.refresh()
    monkeypatch.setattr(DocumentKind, "read", lambda *_: pytest.fail("an unchanged document was verified"))
    assert follower.refresh() is False


def test_a_document_that_is_removed_stays_in_force(signed, kind, keys):
    store = MemoryDocumentStore()
    follower = DocumentFollower(store, kind, keys)
    store.overwrite(signed(3))
    follower.refresh()
    store.overwrite(None)
    assert follower.refresh() is False
    assert in_force(follower) == (3, "good")
    assert follower.refusals == {}


def bad_documents(keys, kind):
    key = keys.signing_key()
    good = {"schema": kind.schema, "revision": 9, "text": "bad"}
    signed_bytes = sign(good, key)
    return {
        Refusal.TOO_LARGE: signed_bytes + b" " * 10_000_000,
        Refusal.MALFORMED: signed_bytes.replace(b'"bad"', b"NaN"),
        Refusal.UNSIGNED: b'{"revision":9,"schema":"streamrec.example.v1","text":"bad"}',
        Refusal.WRONG_SIGNATURE: signed_bytes.replace(b'"bad"', b'"worse"'),
        Refusal.UNKNOWN_KEY: sign(good, SigningKey.generate()),
        Refusal.UNKNOWN_SCHEMA: sign({**good, "schema": "streamrec.example.v2"}, key),
        Refusal.INVALID_CONTENT: sign({**good, "text": 9}, key),
        Refusal.OLDER_REVISION: sign({**good, "revision": 4}, key),
        Refusal.CHANGED_CONTENT: sign({**good, "revision": 5}, key),
    }


@pytest.mark.parametrize(
    "code", [code for code in Refusal if code.name not in ("REVOKED_KEY", "UNREADABLE", "DEFECT")]
)
def test_a_bad_document_leaves_the_last_good_one_and_is_counted_and_logged_once(
    follower, source, kind, keys, signed, code, caplog
):
    source.put(signed(5))
    follower.refresh()
    source.put(bad_documents(keys, kind)[code])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert follower.refresh() is False
    assert in_force(follower) == (5, "good")
    assert follower.refusals == {code: 1}
    assert len(caplog.records) == 1
    assert "\n" not in caplog.records[0].getMessage()
    assert code in caplog.text
    source.put(signed(10, "better"))
    assert follower.refresh() is True
    assert in_force(follower) == (10, "better")
    source.put(bad_documents(keys, kind)[code])
    follower.refresh()
    assert sum(follower.refusals.values()) == 2, "after a good one it is counted again"


def test_every_flipped_bit_is_refused_and_the_last_good_one_stays(kind, keys, signed):
    store = MemoryDocumentStore()
    follower = DocumentFollower(store, kind, keys)
    store.overwrite(signed(1))
    follower.refresh()
    newer = signed(2, "newer")
    for position in range(len(newer)):
        for bit in range(8):
            flipped = bytearray(newer)
            flipped[position] ^= 1 << bit
            store.overwrite(bytes(flipped))
            assert follower.refresh() is False
            assert in_force(follower) == (1, "good")
    store.overwrite(newer)
    assert follower.refresh() is True
    assert in_force(follower) == (2, "newer")


@given(contents=st.lists(st.binary(max_size=300), max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_refreshing_never_raises_and_never_takes_what_nobody_signed(kind, keys, contents):
    store = MemoryDocumentStore()
    follower = DocumentFollower(store, kind, keys)
    for content in contents:
        store.overwrite(content)
        assert follower.refresh() is False
    assert follower.current is None


def test_a_source_that_is_away_is_counted_once_until_it_is_back(kind, keys, signed):
    class Source(MemoryDocumentStore):
        away = False

        def read(self, maximum_bytes, known_tag=None):
            if self.away:
                raise DependencyError("the store did not answer")
            return super().read(maximum_bytes, known_tag)

    source = Source()
    follower = DocumentFollower(source, kind, keys)
    source.overwrite(signed(1))
    follower.refresh()
    for outage in (1, 2):
        source.away = True
        for _ in range(3):
            assert follower.refresh() is False
        assert follower.refusals == {Refusal.UNREADABLE: outage}
        source.away = False
        assert follower.refresh() is False
    assert in_force(follower) == (1, "good")


def test_a_defect_in_reading_one_document_does_not_end_the_following_of_the_next(keys, caplog):
    kind = DocumentKind("streamrec.example.v1", lambda document: 1 / document["divisor"])
    store = MemoryDocumentStore()
    follower = DocumentFollower(store, kind, keys)
    for revision, divisor in ((1, 0), (2, 4)):
        document = {"schema": kind.schema, "revision": revision, "divisor": divisor}
        store.overwrite(sign(document, keys.signing_key()))
        follower.refresh()
        follower.refresh()
    assert in_force(follower) == (2, 0.25)
    assert follower.refusals == {Refusal.DEFECT: 1}
    assert caplog.text.count("Traceback") == 1


@pytest.mark.parametrize(
    "schema", ["", "traffic", "streamrec.traffic", "streamrec.Traffic.v1", "streamrec.a.v0"]
)
def test_the_schema_of_a_kind_has_the_form_of_all(schema):
    with pytest.raises(InvalidInputError, match=r"streamrec\.NAME\.vN"):
        DocumentKind(schema, dict)
