"""The list of the persons who were erased: whether somebody is on it can be asked, who is cannot be read.

A person stands on it as a digest, keyed with a secret of the workspace: HMAC-SHA-256 of the id, cut to 128
bits. Without the secret nobody can try out ids; with it a service knows whom it must not take in again.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from streamrec.contracts.errors import ArtifactError, DependencyError
from streamrec.contracts.json_documents import STRICT, document_json, read_document
from streamrec.documents.document_kind import DocumentKind
from streamrec.files import durable_files
from streamrec.files.locks import only_writer_of

ERASURES_SCHEMA: Final = "streamrec.erasures.v1"

MAXIMUM_BYTES: Final = 16 * 1024 * 1024
"""About 250,000 persons."""

_SECRET_BYTES: Final = 32
_DIGEST_BYTES: Final = 16

_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
_Moment = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]


@dataclass(frozen=True, slots=True)
class ErasureList:
    """Who was erased, as digests.

    Attributes:
        erased: When each was asked to be erased first, UTC, by digest.
    """

    __pydantic_config__ = STRICT

    erased: Annotated[Mapping[_Digest, _Moment], Field()] = field(
        default_factory=lambda: MappingProxyType({})
    )

    def with_person(self, digest: str, now: datetime) -> ErasureList:
        """Return the list with one more; the one who is on it keeps the first time."""
        moment = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return ErasureList({digest: moment, **self.erased})

    def to_body(self) -> dict[str, Any]:
        """The document's own fields."""
        return document_json(self)


def _parsed(document: Mapping[str, Any]) -> ErasureList:
    return read_document(ErasureList, {"erased": document.get("erased")})


ERASURES: Final = DocumentKind(ERASURES_SCHEMA, _parsed, MAXIMUM_BYTES)
"""How the list is published: a signed document."""


class Secret:
    """The key of the digests: a file that only the owner reads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content: bytes | None = None

    def digest_of(self, person: str) -> str:
        """Return the person's digest.

        Raises:
            ArtifactError: The secret is missing or damaged, so that nobody on the list would be known.
            DependencyError: It cannot be read.
        """
        if self._content is None:
            self._content = self._read()
        return hmac.new(self._content, person.encode(), hashlib.sha256).digest()[:_DIGEST_BYTES].hex()

    def make(self) -> None:
        """Make it, unless it is there.

        Raises:
            DependencyError: It cannot be written.
        """
        try:
            durable_files.make_folder(self._path.parent, mode=0o700)
            with only_writer_of(self._path):
                if not self._path.exists():
                    durable_files.write_atomically(self._path, secrets.token_bytes(_SECRET_BYTES), mode=0o600)
        except OSError as error:
            raise DependencyError(f"{self._path} cannot be written: {error}") from error

    def _read(self) -> bytes:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError as error:
            raise ArtifactError(
                f"{self._path} is missing: without it nobody knows who was erased; restore it from a backup"
            ) from error
        except OSError as error:
            raise DependencyError(f"{self._path} cannot be read: {os.strerror(error.errno or 0)}") from error
        if len(content) != _SECRET_BYTES:
            raise ArtifactError(f"{self._path} is damaged; restore it from a backup")
        return content
