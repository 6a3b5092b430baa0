"""Publishing a document: sign it, and put it there only if nobody else has meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from streamrec.contracts.errors import ConflictError, DocumentRefusedError, InvalidInputError
from streamrec.documents.document_kind import DocumentKind, VerifiedDocument
from streamrec.documents.keys import KeyRing
from streamrec.documents.signed_form import ENVELOPE_FIELDS, HIGHEST_REVISION, sign
from streamrec.documents.store import DocumentStore, NoContent, StoredContent

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


class DocumentPublisher(Generic[T]):
    """Publishes one document. Any number of processes may publish the same one: each revision has one winner.

    The revision is the time of publication in milliseconds since 1970, or one more than the revision before
    where that is higher. So it rises also above what replicas remember of a document that was lost, was
    damaged, or came back from an old backup.
    """

    def __init__(
        self,
        store: DocumentStore,
        kind: DocumentKind[T],
        keys: KeyRing,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Set it up; nothing is read or made yet.

        Args:
            store: Where the document lies.
            kind: Which kind it is.
            keys: The key that signs, and those that count when what lies there is read.
            clock: Seconds since 1970.
        """
        self._store, self._kind, self._keys, self._clock = store, kind, keys, clock

    def published(self) -> VerifiedDocument[T] | None:
        """Return what is published; None if there is nothing yet.

        Raises:
            DocumentRefusedError: What lies there would be refused by every replica.
            InvalidInputError: The trusted keys are damaged.
            DependencyError: It, or the trusted keys, cannot be read.
        """
        return self._verified(self._store.read(self._kind.maximum_bytes))

    def next_revision(self, expected_revision: int) -> int:
        """Return the revision that a publication after ``expected_revision`` gets now.

        For a caller that writes it down before it publishes.
        """
        return max(expected_revision + 1, int(1_000 * self._clock()))

    def publish(
        self, body: Mapping[str, Any], *, expected_revision: int, revision: int | None = None
    ) -> VerifiedDocument[T]:
        """Publish the next revision, if the one that is published is the one that the caller decided on.

        Args:
            body: The kind's own fields; ``schema``, ``revision`` and ``signature`` are added.
            expected_revision: Of the published document; 0 where there is none, or none that is good.
            revision: What `next_revision` returned; taken from the clock where None.

        Returns:
            What is published now.

        Raises:
            ConflictError: Somebody else published first. Nothing was done; read again, decide again.
            InvalidInputError: A replica would refuse the document, the revision is not above the published
                one, or the keys cannot be used.
            OverloadedError: Others are writing there for too long; nothing was done.
            DependencyError: It could not be written, or the keys cannot be read; the old one stays.
        """
        stored = self._store.read(self._kind.maximum_bytes)
        try:
            published = self._verified(stored)
        except DocumentRefusedError as error:
            published = None
            if expected_revision == 0:
                _LOG.warning("%s is replaced, since every replica refuses it: %s", self._store, error)
        found = 0 if published is None else published.revision
        if found != expected_revision:
            raise ConflictError(
                f"revision {expected_revision} of {self._store} was to be followed, "
                f"but {f'revision {found}' if found else 'none that is good'} lies there; read it again"
            )
        if revision is None:
            revision = self.next_revision(found)
        elif revision <= found:
            raise InvalidInputError("revision", f"must be above the published one, {found}")
        document = self._signed(body, revision)
        self._store.replace(document.content, None if isinstance(stored, NoContent) else stored.tag)
        return document

    def publish_over(self, body: Mapping[str, Any]) -> VerifiedDocument[T]:
        """Publish the next revision over what lies there, also where every replica refuses that.

        For a document that does not depend on the one before.

        Raises:
            ConflictError, InvalidInputError, OverloadedError, DependencyError: As `publish`.
        """
        try:
            published = self.published()
        except DocumentRefusedError:
            published = None
        return self.publish(body, expected_revision=0 if published is None else published.revision)

    def _verified(self, stored: StoredContent | NoContent) -> VerifiedDocument[T] | None:
        if isinstance(stored, NoContent):
            return None
        return self._kind.read(stored.content, self._keys.trusted())

    def _signed(self, body: Mapping[str, Any], revision: int) -> VerifiedDocument[T]:
        """Sign, and read it as a replica will: what a replica would refuse is not published."""
        taken = ENVELOPE_FIELDS & body.keys()
        if taken:
            raise InvalidInputError(min(taken), "is added when the document is published; leave it out")
        if revision > HIGHEST_REVISION:
            raise InvalidInputError("revision", f"there is none after {HIGHEST_REVISION}")
        content = sign({"schema": self._kind.schema, "revision": revision, **body}, self._keys.signing_key())
        try:
            return self._kind.read(content, self._keys.trusted())
        except DocumentRefusedError as error:
            raise InvalidInputError(
                "document", f"replicas would refuse it ({error.code}): {error}"
            ) from error
