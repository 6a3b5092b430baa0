"""What publisher and follower of one kind of document agree on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from streamrec.contracts.canonical_json import parse_json
from streamrec.contracts.errors import DocumentRefusedError, InvalidInputError
from streamrec.documents.refusals import Refusal
from streamrec.documents.signed_form import REVISION_FIELD, SCHEMA_FIELD, SIGNATURE_FIELD, verify
from streamrec.documents.signing import TrustedKeys

MAXIMUM_BYTES: Final = 65_536
"""A document is small: what is polled every few seconds by every replica has to be."""

_SCHEMA: Final = re.compile(r"streamrec\.[a-z][a-z0-9_]{0,63}\.v[1-9][0-9]{0,3}")

T = TypeVar("T")


@dataclass(frozen=True)
class VerifiedDocument(Generic[T]):
    """A document that passed every check.

    Attributes:
        revision: 1 or more; rises with every publication.
        value: What the kind's ``parse`` made of it.
        content: The bytes that were verified.
    """

    revision: int
    value: T
    content: bytes


@dataclass(frozen=True)
class DocumentKind(Generic[T]):
    """One kind of document.

    Attributes:
        schema: ``streamrec.NAME.vN``.
        parse: Makes the typed value from the document without its signature (``schema``, ``revision`` and the
            kind's own fields), and raises `InvalidInputError` for anything that it does not accept. It is the
            only thing that knows what the document means.
        maximum_bytes: Of the whole signed document.
    """

    schema: str
    parse: Callable[[Mapping[str, Any]], T]
    maximum_bytes: int = MAXIMUM_BYTES

    def __post_init__(self) -> None:
        if _SCHEMA.fullmatch(self.schema) is None:
            raise InvalidInputError("schema", f"{self.schema!r} must have the form streamrec.NAME.vN")
        if self.maximum_bytes < 1:
            raise InvalidInputError("maximum_bytes", "must be 1 or more")

    def read(self, content: bytes, trust: TrustedKeys) -> VerifiedDocument[T]:
        """Verify and parse what lies where a document is published.

        Raises:
            DocumentRefusedError: Its ``code`` is one of `Refusal`.
        """
        document = verify(content, trust, self.schema, self.maximum_bytes)
        try:
            value = self.parse(document)
        except InvalidInputError as error:
            raise DocumentRefusedError(
                Refusal.INVALID_CONTENT, f"the document holds what is not accepted: {error}"
            ) from error
        return VerifiedDocument(document[REVISION_FIELD], value, content)

    def read_unverified(self, content: bytes) -> T | None:
        """Parse a document whoever signed it; None where it is none of this kind.

        What it says is worth nothing, but to a caller that knows from elsewhere what it has to say.
        """
        try:
            document = parse_json(content, maximum_bytes=self.maximum_bytes)
            document.pop(SIGNATURE_FIELD, None)
            return self.parse(document) if document.get(SCHEMA_FIELD) == self.schema else None
        except InvalidInputError:
            return None
