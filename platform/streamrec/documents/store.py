"""The ports to the place where one document lies: read it, and replace it by compare-and-set."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


@dataclass(frozen=True)
class StoredContent:
    """What lies there.

    Attributes:
        content: The bytes; of a longer document the first ``maximum_bytes + 1``, enough to see that it is too
            long.
        tag: Names this version: other content at the same place has another tag. None where the place has
            none.
    """

    content: bytes
    tag: str | None


class NoContent(Enum):
    """Why a read returned no content."""

    MISSING = "missing"
    """There is no document."""

    UNCHANGED = "unchanged"
    """It is the version that the reader knows."""


class DocumentSource(Protocol):
    """A place that can be read. Safe to use from several threads."""

    def read(self, maximum_bytes: int, known_tag: str | None = None) -> StoredContent | NoContent:
        """Read what lies there now: one whole version, never parts of two.

        Args:
            maximum_bytes: Reads at most one byte more.
            known_tag: The tag of the version that the reader has; that one is not transferred again.

        Raises:
            DependencyError: It cannot be read.
        """
        ...


class DocumentStore(DocumentSource, Protocol):
    """A place that can be written too."""

    def replace(self, content: bytes, expected_tag: str | None) -> None:
        """Replace the version whose tag is ``expected_tag``; None: there must be nothing yet.

        Readers see the old version or the new one. Of several processes that expect the same version exactly
        one succeeds.

        Raises:
            ConflictError: Something else lies there by now; it stays.
            OverloadedError: Others are writing there for too long; nothing was done.
            DependencyError: It cannot be written; the old version stays.
        """
        ...
