"""Every key ring keeps the same promises; the one in files is careful with them."""

from __future__ import annotations

import os
import time

import pytest

from streamrec.contracts.canonical_json import canonical_json
from streamrec.contracts.errors import DependencyError, InvalidInputError, NotFoundError
from streamrec.documents.key_folder import KeyFolder, PublicKeyFolder
from streamrec.documents.keys import MAXIMUM_KEYS, MemoryKeyRing
from streamrec.documents.signing import SigningKey, TrustedKeys


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "workspace" / "keys"


@pytest.fixture(params=["memory", "files"])
def ring(request, folder):
    return MemoryKeyRing() if request.param == "memory" else KeyFolder(folder)


def test_the_first_use_makes_a_key_and_every_later_one_finds_it(ring):
    assert ring.trusted() == TrustedKeys()
    key = ring.signing_key()
    assert ring.signing_key().key_id == key.key_id
    assert ring.trusted() == TrustedKeys.of(key.public)
    assert ring.trusted().keys[key.key_id].verifies(ring.signing_key().sign(b"x"), b"x")


def test_after_a_rotation_both_keys_are_trusted_and_the_new_one_signs(ring):
    old, new = ring.signing_key(), ring.rotate()
    assert ring.signing_key().key_id == new.key_id != old.key_id
    assert ring.trusted() == TrustedKeys.of(old.public, new.public)


def test_a_rotation_without_a_key_makes_the_first(ring):
    key = ring.rotate()
    assert ring.signing_key().key_id == key.key_id


def test_a_revoked_key_stays_known_as_revoked(ring):
    old, new = ring.signing_key(), ring.rotate()
    assert ring.revoke(old.key_id) is True
    assert ring.trusted() == TrustedKeys(TrustedKeys.of(old.public, new.public).keys, frozenset({old.key_id}))
    assert ring.revoke(old.key_id) is False


def test_the_key_that_signs_is_not_revoked(ring):
    key = ring.signing_key()
    with pytest.raises(InvalidInputError, match="streamrec keys rotate"):
        ring.revoke(key.key_id)
    assert ring.trusted().revoked == frozenset()


@pytest.mark.parametrize("key_id", ["", "abc", "A" * 16, "../../../etc/pass", "0" * 17, "0" * 15 + "\n"])
def test_what_is_no_key_id_is_refused(ring, key_id):
    with pytest.raises(InvalidInputError, match="key_id"):
        ring.revoke(key_id)


def test_an_unknown_key_is_not_revoked(ring):
    with pytest.raises(NotFoundError, match="0000000000000000"):
        ring.revoke("0" * 16)


def test_the_number_of_keys_is_bounded(ring):
    for _ in range(MAXIMUM_KEYS):
        ring.rotate()
    with pytest.raises(InvalidInputError, match=f"{MAXIMUM_KEYS} keys already"):
        ring.rotate()
    assert len(ring.trusted().keys) == MAXIMUM_KEYS


def test_the_private_key_is_for_its_owner_alone(folder):
    umask = os.umask(0)
    try:
        KeyFolder(folder).signing_key()
    finally:
        os.umask(umask)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "signing_key.pem").stat().st_mode & 0o777 == 0o600
    assert not any(b"PRIVATE" in path.read_bytes() for path in (folder / "public").iterdir())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_private_key_that_others_can_read_is_refused(folder, mode):
    keys = KeyFolder(folder)
    keys.signing_key()
    path = folder / "signing_key.pem"
    path.chmod(mode)
    for use in (keys.signing_key, keys.signing_key_id):
        with pytest.raises(InvalidInputError, match=f"run: chmod 600 {path}"):
            use()
    path.chmod(0o600)
    keys.signing_key()


def test_a_folder_in_which_others_could_replace_keys_is_refused(folder):
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    with pytest.raises(InvalidInputError, match=f"chmod 700 {folder}"):
        KeyFolder(folder).signing_key()
    assert list(folder.iterdir()) == []
    folder.chmod(0o755)
    KeyFolder(folder).signing_key()
    folder.chmod(0o757)
    with pytest.raises(InvalidInputError, match=f"chmod 700 {folder}"):
        KeyFolder(folder).signing_key()


def test_a_damaged_private_key_is_refused_and_not_replaced(folder):
    keys = KeyFolder(folder)
    keys.signing_key()
    path = folder / "signing_key.pem"
    path.write_bytes(b"-----BEGIN PRIVATE KEY-----\nsecret\n")
    with pytest.raises(InvalidInputError, match="restore it, or remove it") as caught:
        keys.signing_key()
    assert "secret" not in str(caught.value)
    assert path.read_bytes().endswith(b"secret\n")


def test_looking_at_keys_makes_none(folder):
    assert KeyFolder(folder).signing_key_id() is None
    assert KeyFolder(folder).trusted() == TrustedKeys()
    assert not folder.exists()


def test_readers_need_the_public_folder_alone_and_see_every_change(folder):
    keys = KeyFolder(folder)
    first = keys.signing_key()
    reader = PublicKeyFolder(keys.public_folder)
    assert reader.trusted() == TrustedKeys.of(first.public)
    second = keys.rotate()
    assert reader.trusted() == TrustedKeys.of(first.public, second.public)
    keys.revoke(first.key_id)
    assert reader.trusted().revoked == {first.key_id}


def test_a_folder_that_has_settled_is_not_read_again(folder, monkeypatch):
    keys = KeyFolder(folder)
    keys.signing_key()
    an_hour_ago = time.time_ns() - 3_600 * 10**9
    os.utime(keys.public_folder, ns=(an_hour_ago, an_hour_ago))
    reader = PublicKeyFolder(keys.public_folder)
    trusted = reader.trusted()

    def fail(*_arguments):
        raise AssertionError("the folder was read again")

    with monkeypatch.context() as patched:
        patched.setattr("streamrec.documents.key_folder._read_public_folder", fail)
        assert reader.trusted() is trusted
    keys.rotate()
    assert len(reader.trusted().keys) == 2


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("0123456789abcdef.pem", b"garbage", "not a public key"),
        ("0123456789abcdef.pem", SigningKey.generate().public.to_pem(), "must be named"),
        ("revoked_keys.json", b"garbage", "revoked keys is damaged"),
        ("revoked_keys.json", b"x" * 100_000, "revoked keys is damaged"),
        ("revoked_keys.json", canonical_json({"schema": "streamrec.revoked_keys.v2", "keys": []}), "damaged"),
        (
            "revoked_keys.json",
            canonical_json({"schema": "streamrec.revoked_keys.v1", "keys": ["x"]}),
            "damaged",
        ),
        (
            "revoked_keys.json",
            canonical_json({"schema": "streamrec.revoked_keys.v1", "keys": "x"}),
            "damaged",
        ),
    ],
)
def test_public_keys_that_are_damaged_trust_nobody_and_are_named(folder, name, content, problem):
    keys = KeyFolder(folder)
    keys.signing_key()
    (keys.public_folder / name).write_bytes(content)
    with pytest.raises(InvalidInputError, match=problem) as caught:
        PublicKeyFolder(keys.public_folder).trusted()
    assert str(keys.public_folder / name) in str(caught.value)


def test_too_many_public_keys_are_refused(folder):
    keys = KeyFolder(folder)
    keys.signing_key()
    for number in range(MAXIMUM_KEYS):
        (keys.public_folder / f"{number:016x}.pem").touch()
    with pytest.raises(InvalidInputError, match="at most 64"):
        keys.trusted()


def test_a_public_folder_that_cannot_be_read_is_a_temporary_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DependencyError, match="cannot be used"):
        PublicKeyFolder(tmp_path / "file" / "public").trusted()
    with pytest.raises(DependencyError, match="cannot be used"):
        KeyFolder(tmp_path / "file" / "keys").signing_key()
