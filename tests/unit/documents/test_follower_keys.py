"""Following while keys come, go, are revoked and break."""

from __future__ import annotations

from streamrec.contracts.errors import InvalidInputError
from streamrec.documents.follower import DocumentFollower
from streamrec.documents.keys import MemoryKeyRing
from streamrec.documents.refusals import Refusal
from streamrec.documents.signed_form import sign
from tests.unit.documents.following import SwitchedKeys, in_force


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
