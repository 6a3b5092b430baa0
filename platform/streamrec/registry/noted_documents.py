"""A small signed document in a note of the model registry: on MLflow, a tag that its pages show."""

from __future__ import annotations

import hashlib
from typing import Protocol

from streamrec.contracts.errors import ConflictError, InvalidInputError
from streamrec.documents.store import NoContent, StoredContent

MAXIMUM_CHARACTERS = 5_000
"""Of a note; MLflow's limit for a tag."""


class Notes(Protocol):
    """Texts under names, beside the models of a registry."""

    def note(self, key: str) -> str | None:
        """Return what was written last; None where nothing was.

        Raises:
            DependencyError: The registry does not answer.
        """
        ...

    def write_note(self, key: str, text: str) -> None:
        """Replace what was written.

        Raises:
            DependencyError: The registry does not answer; nothing has changed.
        """
        ...


class NotedDocumentStore:
    """Implements `DocumentStore` as far as a registry can: it has no compare-and-set.

    Two that replace a document in the same instant may both succeed; the later one stays. That is right for
    documents of which any signed one serves, such as anchors.
    """

    def __init__(self, notes: Notes, key: str) -> None:
        self._notes, self._key = notes, key

    def __repr__(self) -> str:
        return f"the note {self._key} of the model registry"

    def read(self, maximum_bytes: int, known_tag: str | None = None) -> StoredContent | NoContent:
        """See `DocumentSource.read`."""
        text = self._notes.note(self._key)
        if text is None:
            return NoContent.MISSING
        content = text.encode()
        tag = hashlib.sha256(content).hexdigest()
        return NoContent.UNCHANGED if tag == known_tag else StoredContent(content[: maximum_bytes + 1], tag)

    def replace(self, content: bytes, expected_tag: str | None) -> None:
        """See `DocumentStore.replace`."""
        text = content.decode()
        if len(text) > MAXIMUM_CHARACTERS:
            raise InvalidInputError(
                "document", f"has {len(text):,} characters; a note holds {MAXIMUM_CHARACTERS:,}"
            )
        found = self.read(0)
        if (None if isinstance(found, NoContent) else found.tag) != expected_tag:
            raise ConflictError(f"{self} was replaced by another publisher meanwhile; read it again")
        self._notes.write_note(self._key, text)
