"""The ports through which keys are found, and their twin in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Protocol

from streamrec.contracts.errors import InvalidInputError, NotFoundError
from streamrec.documents.signing import PublicKey, SigningKey, TrustedKeys, check_key_id

MAXIMUM_KEYS: Final = 64
"""Trusted and revoked ones together: a rotation a month for five years."""


class KeyReader(Protocol):
    """What a reader of documents needs. Safe to use from several threads."""

    def trusted(self) -> TrustedKeys:
        """Return whose signatures count now; rotation and revocation are seen by the next call.

        Raises:
            InvalidInputError: The keys that lie there are damaged; none of them is trusted by guessing.
            DependencyError: They cannot be read.
        """
        ...


class KeyRing(KeyReader, Protocol):
    """What a publisher of documents needs, and whoever looks after its keys."""

    def signing_key(self) -> SigningKey:
        """Return the key that signs now; the first call makes it. Every process gets the same one.

        Raises:
            InvalidInputError: The key is damaged, or others can read it.
            OverloadedError: Another process is changing the keys for too long.
            DependencyError: It cannot be read or made.
        """
        ...

    def rotate(self) -> SigningKey:
        """Make a new signing key and return it. The keys before it stay trusted until they are revoked.

        Raises:
            InvalidInputError: There are `MAXIMUM_KEYS` already.
            OverloadedError: Another process is changing the keys for too long; nothing was done.
            DependencyError: It cannot be written; the old one still signs.
        """
        ...

    def revoke(self, key_id: str) -> bool:
        """Refuse every document of a key from now on, also those signed before; False if that is so already.

        Raises:
            InvalidInputError: It is no key id, or that of the key that signs now: rotate first.
            NotFoundError: There is no such key.
            OverloadedError: Another process is changing the keys for too long; nothing was done.
            DependencyError: The revocation cannot be written; nothing has changed.
        """
        ...


class MemoryKeyRing:
    """Implements `KeyRing` in one process."""

    def __init__(self, generate: Callable[[], SigningKey] = SigningKey.generate) -> None:
        self._generate = generate
        self._lock = threading.Lock()
        self._signing: SigningKey | None = None
        self._trusted = TrustedKeys()

    def trusted(self) -> TrustedKeys:
        """See `KeyReader.trusted`."""
        return self._trusted

    def signing_key(self) -> SigningKey:
        """See `KeyRing.signing_key`."""
        with self._lock:
            return self._signing or self._replace()

    def rotate(self) -> SigningKey:
        """See `KeyRing.rotate`."""
        with self._lock:
            return self._replace()

    def revoke(self, key_id: str) -> bool:
        """See `KeyRing.revoke`."""
        with self._lock:
            trusted = self._trusted
            if not check_revocable(key_id, trusted, self._signing.key_id if self._signing else None):
                return False
            self._trusted = TrustedKeys(trusted.keys, trusted.revoked | {key_id})
            return True

    def _replace(self) -> SigningKey:
        check_room(self._trusted)
        key = self._generate()
        self._trusted = with_key(self._trusted, key.public)
        self._signing = key
        return key


def with_key(trusted: TrustedKeys, key: PublicKey) -> TrustedKeys:
    """Return ``trusted`` with one key more."""
    return TrustedKeys({**trusted.keys, key.key_id: key}, trusted.revoked)


def check_room(trusted: TrustedKeys) -> None:
    """Refuse a key too many.

    Raises:
        InvalidInputError: There are `MAXIMUM_KEYS` already.
    """
    if len(trusted.keys.keys() | trusted.revoked) >= MAXIMUM_KEYS:
        raise InvalidInputError(
            "keys",
            f"there are {MAXIMUM_KEYS} keys already, the most that is accepted; start a new key folder",
        )


def check_revocable(key_id: str, trusted: TrustedKeys, signing: str | None) -> bool:
    """Whether a key may be revoked and is not yet; ``signing`` is the id of the key that signs now.

    Raises:
        InvalidInputError: It is no key id, or the one that signs now.
        NotFoundError: There is no such key.
    """
    check_key_id(key_id)
    if key_id == signing:
        raise InvalidInputError(
            "key_id",
            f"{key_id} signs now, and without it nothing could be published; "
            "run 'streamrec keys rotate' first, publish again, and then revoke it",
        )
    if key_id in trusted.revoked:
        return False
    if key_id not in trusted.keys:
        raise NotFoundError(f"there is no key {key_id}; 'streamrec keys list' shows all")
    return True
