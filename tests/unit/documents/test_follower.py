from __future__ import annotations

import logging
import threading
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamrec.contracts.errors import DependencyError, InvalidInputError
from streamrec.documents.document_kind import DocumentKind
from streamrec.documents.file_store import FileDocumentStore
from streamrec.documents.follower import DocumentFollower
from streamrec.documents.keys import MemoryKeyRing
from streamrec.documents.memory_store import MemoryDocumentStore
from streamrec.documents.polling import Poller
from streamrec.documents.refusals import Refusal
from streamrec.documents.signed_form import sign
from streamrec.documents.signing import SigningKey


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


class SwitchedKeys:
    """A key reader whose keys come, go and break while a follower uses it."""

    def __init__(self, trusted):
        self.trusted = trusted


@pytest.fixture
def follower(source, kind, keys):
    return DocumentFollower(source.store, kind, keys)


def in_force(follower):
    return None if follower.current is None else (follower.current.revision, follower.current.value)


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


# The keys.


def test_a_document_that_comes_before_its_key_is_accepted_once_the_key_is_there(source, kind, keys):
    reader = SwitchedKeys(MemoryKeyRing().trusted)
    follower = DocumentFollower(source.store, kind, reader)
    source.put(sign({"schema": kind.schema, "revision": 1, "text": "early"}, keys.signing_key()))
    for _ in range(2):
        assert follower.refresh() is False
    assert follower.refusals == {Refusal.UNKNOWN_KEY: 1}
    reader.trusted = keys.trusted
    assert follower.refresh() is True


def test_rotation_needs_nothing_of_the_replicas(follower, source, keys, signed):
    source.put(signed(1))
    follower.refresh()
    keys.rotate()
    assert follower.refresh() is False
    source.put(signed(2, "by the new key"))
    assert follower.refresh() is True
    assert follower.refusals == {}


def test_a_document_of_a_revoked_key_is_withdrawn_and_binds_no_revision(follower, source, keys, signed):
    old = keys.signing_key()
    source.put(signed(2**40, "by a thief"))
    follower.refresh()
    keys.rotate()
    keys.revoke(old.key_id)
    assert follower.refresh() is True
    assert follower.current is None
    assert follower.refresh() is False
    assert follower.refusals == {Refusal.REVOKED_KEY: 1}
    source.put(signed(7, "by the owner"))
    assert follower.refresh() is True
    assert in_force(follower) == (7, "by the owner")


def test_a_revocation_after_the_next_publication_withdraws_nothing(follower, source, keys, signed):
    old = keys.signing_key()
    source.put(signed(1))
    follower.refresh()
    keys.rotate()
    source.put(signed(2, "by the new key"))
    follower.refresh()
    keys.revoke(old.key_id)
    assert follower.refresh() is False
    assert in_force(follower) == (2, "by the new key")
    source.put(signed(3, "by the old key", key=old))
    follower.refresh()
    assert in_force(follower) == (2, "by the new key")
    assert follower.refusals == {Refusal.REVOKED_KEY: 1}


def test_keys_that_are_gone_or_damaged_withdraw_nothing(source, kind, keys, signed):
    reader = SwitchedKeys(keys.trusted)
    follower = DocumentFollower(source.store, kind, reader)
    source.put(signed(1))
    follower.refresh()
    reader.trusted = MemoryKeyRing().trusted
    assert follower.refresh() is False

    def damaged():
        raise InvalidInputError("revoked_keys.json", "is damaged")

    reader.trusted = damaged
    source.put(signed(2))
    assert follower.refresh() is False
    assert in_force(follower) == (1, "good")
    assert follower.refusals == {Refusal.UNREADABLE: 1}
    reader.trusted = keys.trusted
    assert follower.refresh() is True


# The copy on disk.


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


# Polling.


def test_polling_goes_on_until_it_is_stopped():
    calls, third = [], threading.Event()

    def refresh():
        calls.append(None)
        if len(calls) == 3:
            third.set()

    poller = Poller(refresh, interval_s=0.001, name="example")
    poller.start()
    assert third.wait(10.0)
    poller.stop()
    count = len(calls)
    assert not poller._thread.is_alive()
    assert len(calls) == count


def test_a_poller_that_was_never_started_can_be_stopped():
    Poller(lambda: None, interval_s=1.0, name="example").stop()


@pytest.mark.parametrize("interval_s", [0.0, -1.0, float("nan")])
def test_an_interval_is_above_zero(interval_s):
    with pytest.raises(ValueError, match="above 0"):
        Poller(lambda: None, interval_s=interval_s, name="example")


@pytest.mark.parametrize(
    "schema", ["", "traffic", "streamrec.traffic", "streamrec.Traffic.v1", "streamrec.a.v0"]
)
def test_the_schema_of_a_kind_has_the_form_of_all(schema):
    with pytest.raises(InvalidInputError, match=r"streamrec\.NAME\.vN"):
        DocumentKind(schema, dict)
