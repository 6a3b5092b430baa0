"""A document in the memory of one process; the twin of the other stores."""

from __future__ import annotations

import threading

from streamrec.contracts.errors import ConflictError
from streamrec.documents.store import NoContent, StoredContent


class MemoryDocumentStore:
    """Implements `DocumentStore`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._version = 0
        self._content: bytes | None = None

    def __repr__(self) -> str:
        return "memory"

    def read(self, maximum_bytes: int, known_tag: str | None = None) -> StoredContent | NoContent:
        """See `DocumentSource.read`."""
        with self._lock:
            if self._content is None:
                return NoContent.MISSING
            if known_tag == self._tag:
                return NoContent.UNCHANGED
            return StoredContent(self._content[: maximum_bytes + 1], self._tag)

    def replace(self, content: bytes, expected_tag: str | None) -> None:
        """See `DocumentStore.replace`."""
        with self._lock:
            if expected_tag != self._tag:
                raise ConflictError("the document was replaced by another publisher meanwhile; read it again")
            self._put(content)

    def overwrite(self, content: bytes | None) -> None:
        """Put anything there, as a hand or a damaged disk would; None removes it."""
        with self._lock:
            self._put(content)

    def _put(self, content: bytes | None) -> None:
        self._version += 1
        self._content = content

    @property
    def _tag(self) -> str | None:
        return None if self._content is None else str(self._version)
