"""Keys in files: a folder of public keys for everybody who reads documents, and the private key beside it.

::

    keys/                        mode 0700
        signing_key.pem          mode 0600: the key that signs now
        public/                  all that a reader of documents needs
            KEY_ID.pem           one trusted key each
            revoked_keys.json    the keys whose documents are refused

Every change holds one lock and is one replaced file, so that a process that is killed at any point leaves
keys that
work: a new key is trusted before it signs.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from streamrec.contracts.canonical_json import canonical_json, parse_json
from streamrec.contracts.errors import DependencyError, InvalidInputError
from streamrec.documents.keys import MAXIMUM_KEYS, check_revocable, check_room
from streamrec.documents.signing import PublicKey, SigningKey, TrustedKeys, check_key_id
from streamrec.files.durable_files import make_folder, write_atomically
from streamrec.files.locks import only_writer_of

SIGNING_KEY_FILE: Final = "signing_key.pem"
PUBLIC_FOLDER: Final = "public"
REVOKED_FILE: Final = "revoked_keys.json"
REVOKED_SCHEMA: Final = "streamrec.revoked_keys.v1"

_PUBLIC_SUFFIX: Final = ".pem"
_MAXIMUM_FILE_BYTES: Final = 8_192
_SETTLED_AFTER_NS: Final = 2_000_000_000
"""A folder that changed less than this ago may change again without a new time of modification, because
clocks of file systems tick; it is read again until then."""


class PublicKeyFolder:
    """Implements `KeyReader`: a folder of public keys and the list of the revoked ones.

    Two system calls where nothing has changed. A folder that is not there trusts nobody.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._read: tuple[tuple[int, int], TrustedKeys] | None = None

    def trusted(self) -> TrustedKeys:
        """See `KeyReader.trusted`."""
        with self._lock, _errors_named(self._folder):
            try:
                status = self._folder.stat()
            except FileNotFoundError:
                return TrustedKeys()
            # Files in it are only ever replaced, so that the folder's own time of modification tells of each.
            identity = (status.st_ino, status.st_mtime_ns)
            if self._read is not None and self._read[0] == identity:
                return self._read[1]
            trusted = _read_public_folder(self._folder)
            is_settled = time.time_ns() - status.st_mtime_ns > _SETTLED_AFTER_NS
            self._read = (identity, trusted) if is_settled else None
            return trusted


class KeyFolder:
    """Implements `KeyRing`. The folder and its first key are made on first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._private = folder / SIGNING_KEY_FILE
        self._reader = PublicKeyFolder(self.public_folder)

    @property
    def public_folder(self) -> Path:
        """The folder for a `PublicKeyFolder`: all that whoever reads documents needs."""
        return self._folder / PUBLIC_FOLDER

    def trusted(self) -> TrustedKeys:
        """See `KeyReader.trusted`."""
        return self._reader.trusted()

    def signing_key_id(self) -> str | None:
        """The id of the key that signs now; None before there is one, which this does not change.

        Raises:
            InvalidInputError, DependencyError: As `signing_key`.
        """
        with _errors_named(self._private):
            key = _read_signing_key(self._private)
        return None if key is None else key.key_id

    def signing_key(self) -> SigningKey:
        """See `KeyRing.signing_key`."""
        with _errors_named(self._private):
            key = _read_signing_key(self._private)
            if key is not None:
                self._check_folder()
                return key
        with self._changing():
            # Another process may have been first.
            return _read_signing_key(self._private) or self._write_new_key()

    def rotate(self) -> SigningKey:
        """See `KeyRing.rotate`."""
        with self._changing():
            return self._write_new_key()

    def revoke(self, key_id: str) -> bool:
        """See `KeyRing.revoke`."""
        check_key_id(key_id)
        with self._changing():
            signing = _read_signing_key(self._private)
            trusted = self.trusted()
            if not check_revocable(key_id, trusted, signing.key_id if signing else None):
                return False
            document = {"schema": REVOKED_SCHEMA, "keys": sorted(trusted.revoked | {key_id})}
            write_atomically(self.public_folder / REVOKED_FILE, canonical_json(document))
            return True

    def _write_new_key(self) -> SigningKey:
        check_room(self.trusted())
        key = SigningKey.generate()
        write_atomically(self.public_folder / f"{key.key_id}{_PUBLIC_SUFFIX}", key.public.to_pem())
        write_atomically(self._private, key.to_pem(), mode=0o600)
        return key

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with _errors_named(self._folder):
            make_folder(self._folder, mode=0o700)
            self._check_folder()
            make_folder(self.public_folder)
            with only_writer_of(self._private):
                yield

    def _check_folder(self) -> None:
        if stat.S_IMODE(self._folder.stat().st_mode) & 0o022:
            raise InvalidInputError(
                str(self._folder), f"others could replace the keys in it; run: chmod 700 {self._folder}"
            )


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into one that says what it was about."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise DependencyError(f"{where}: the keys cannot be used: {error.strerror}") from error


def _read_signing_key(path: Path) -> SigningKey | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInputError(str(path), "is not a regular file")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise InvalidInputError(str(path), f"others can read this private key; run: chmod 600 {path}")
        content = file.read(_MAXIMUM_FILE_BYTES + 1)
    try:
        return SigningKey.from_pem(content)
    except InvalidInputError as error:
        raise InvalidInputError(
            str(path),
            f"{error.problem}; restore it, or remove it so that the next publication makes a new one",
        ) from None


def _read_public_folder(folder: Path) -> TrustedKeys:
    paths = sorted(folder.glob(f"*{_PUBLIC_SUFFIX}"))
    if len(paths) > MAXIMUM_KEYS:
        raise InvalidInputError(str(folder), f"holds {len(paths)} keys, at most {MAXIMUM_KEYS} are accepted")
    keys: dict[str, PublicKey] = {}
    for path in paths:
        try:
            key = PublicKey.from_pem(_read_bounded(path))
        except InvalidInputError as error:
            raise InvalidInputError(str(path), f"{error.problem}; restore it or remove it") from error
        if path.name != f"{key.key_id}{_PUBLIC_SUFFIX}":
            raise InvalidInputError(
                str(path), f"holds the key {key.key_id} and must be named {key.key_id}{_PUBLIC_SUFFIX}"
            )
        keys[key.key_id] = key
    return TrustedKeys(keys, _read_revoked(folder / REVOKED_FILE))


def _read_revoked(path: Path) -> frozenset[str]:
    """Read the list of revoked keys; one that is damaged is refused, since it may have named any key."""
    try:
        document: dict[str, Any] = parse_json(_read_bounded(path), maximum_bytes=_MAXIMUM_FILE_BYTES)
        if document.keys() != {"schema", "keys"} or document["schema"] != REVOKED_SCHEMA:
            raise InvalidInputError("document", f"must have exactly a schema, {REVOKED_SCHEMA}, and keys")
        keys = document["keys"]
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise InvalidInputError("keys", "must be a list of key ids")
        return frozenset(check_key_id(key) for key in keys)
    except FileNotFoundError:
        return frozenset()
    except InvalidInputError as error:
        raise InvalidInputError(
            str(path), f"the list of revoked keys is damaged; restore it: {error}"
        ) from error


def _read_bounded(path: Path) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        return file.read(_MAXIMUM_FILE_BYTES + 1)
