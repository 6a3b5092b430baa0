"""Ed25519 keys: what signs a document, and what says whether a signature is right.

The only module that knows the library `cryptography`. Key material is shown by no ``repr`` and no error.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from streamrec.contracts.errors import InvalidInputError

ALGORITHM: Final = "ed25519"

SIGNATURE_BYTES: Final = 64

_KEY_ID_LENGTH: Final = 16
_KEY_ID: Final = re.compile(rf"[0-9a-f]{{{_KEY_ID_LENGTH}}}")


def check_key_id(key_id: str) -> str:
    """Return ``key_id``.

    Raises:
        InvalidInputError: It does not have the form of a key id.
    """
    if _KEY_ID.fullmatch(key_id) is None:
        raise InvalidInputError(
            "key_id",
            f"{key_id[:40]!a} is no key id ({_KEY_ID_LENGTH} hexadecimal digits in lower case); "
            "'streamrec keys list' shows all",
        )
    return key_id


class PublicKey:
    """Says whether a signature is right. Two are equal if they are the same key."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._key_id = hashlib.sha256(raw).hexdigest()[:_KEY_ID_LENGTH]

    @classmethod
    def from_pem(cls, content: bytes) -> PublicKey:
        """Read what `to_pem` wrote.

        Raises:
            InvalidInputError: It is no public Ed25519 key in PEM form.
        """
        try:
            key = load_pem_public_key(content)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise InvalidInputError("public_key", "is not a public key in PEM form") from error
        if not isinstance(key, Ed25519PublicKey):
            raise InvalidInputError("public_key", f"is not an {ALGORITHM} key")
        return cls(key)

    @property
    def key_id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the key's 32 bytes."""
        return self._key_id

    def to_pem(self) -> bytes:
        """Return the key in PEM form (SubjectPublicKeyInfo)."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Whether the private half of this key made ``signature`` over exactly ``content``."""
        try:
            self._key.verify(signature, content)
        except InvalidSignature:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.to_pem() == other.to_pem()

    def __hash__(self) -> int:
        return hash(self._key_id)

    def __repr__(self) -> str:
        return f"PublicKey({self._key_id})"


class SigningKey:
    """A private key. Its ``repr`` is its id, and it cannot be pickled."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._public = PublicKey(key.public_key())

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a new key from the operating system's random numbers."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, content: bytes) -> SigningKey:
        """Read what `to_pem` wrote.

        Raises:
            InvalidInputError: It is no private Ed25519 key in PEM form, or is protected by a password.
        """
        try:
            key = load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # Without the cause: a library's message may quote what it could not read.
            raise InvalidInputError(
                "signing_key", "is not a private key in PEM form without a password"
            ) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise InvalidInputError("signing_key", f"is not an {ALGORITHM} key")
        return cls(key)

    @property
    def key_id(self) -> str:
        """The id of the public half."""
        return self._public.key_id

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return self._public

    def to_pem(self) -> bytes:
        """Return the private key in PEM form (PKCS 8, no password). For a file of mode 0600 alone."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, content: bytes) -> bytes:
        """Return the signature, `SIGNATURE_BYTES` long; the same content, the same signature."""
        return self._key.sign(content)

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id})"

    def __reduce__(self) -> str:
        raise TypeError("a signing key stays in its process: send the path of its folder")


@dataclass(frozen=True)
class TrustedKeys:
    """Whose signatures count. Two are equal if they trust and revoke the same keys.

    Attributes:
        keys: Public keys by key id.
        revoked: Ids of keys whose documents are refused, whenever they were signed; counts before ``keys``.
    """

    keys: Mapping[str, PublicKey] = field(default_factory=dict)
    revoked: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for key_id, key in self.keys.items():
            if key_id != key.key_id:
                raise InvalidInputError("keys", f"the key {key.key_id} stands under the id {key_id}")
        object.__setattr__(self, "keys", MappingProxyType(dict(self.keys)))

    @classmethod
    def of(cls, *keys: PublicKey) -> TrustedKeys:
        """Trust these keys and no other."""
        return cls({key.key_id: key for key in keys})
