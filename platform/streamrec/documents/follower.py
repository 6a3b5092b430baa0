"""Following a published document: look again, keep the last good one, refuse and count everything else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Generic, TypeVar

from streamrec.contracts.errors import (
    ConflictError,
    DocumentRefusedError,
    InvalidInputError,
    TemporaryError,
)
from streamrec.documents.document_kind import DocumentKind, VerifiedDocument
from streamrec.documents.keys import KeyReader
from streamrec.documents.refusals import Refusal
from streamrec.documents.signing import TrustedKeys
from streamrec.documents.store import DocumentSource, DocumentStore, NoContent

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


class _Place(Enum):
    """Where a document was read; each place has a problem of its own, or none."""

    SOURCE = "the published document"
    COPY = "the copy on disk"


class DocumentFollower(Generic[T]):
    """The newest good version of one document. Safe to use from several threads.

    A document is refused if it is damaged, not signed by a trusted key, of another kind, older than the one
    in force, or of the same revision with other content; then the one in force stays. A refused document is
    looked at again with every refresh, because the key that signed it may be trusted by then, but counted and
    logged once.

    The one in force is withdrawn if its key is revoked: whoever stole the key may have written it. Its
    revision then counts no longer, so that any document of a key that is trusted takes its place.
    """

    def __init__(
        self,
        source: DocumentSource,
        kind: DocumentKind[T],
        keys: KeyReader,
        *,
        copy: DocumentStore | None = None,
    ) -> None:
        """Start with the last good copy, where there is one; the source is not read before `refresh`.

        Args:
            source: Where the document is published.
            kind: Which kind it is.
            keys: Whose signatures count.
            copy: Where the last good one is kept for the next start; it is verified again when it is read.
                Replicas on one machine may share it.
        """
        self._source, self._kind, self._keys, self._copy = source, kind, keys, copy
        self._lock = threading.Lock()
        self._current: VerifiedDocument[T] | None = None
        self._trust: TrustedKeys | None = None
        self._tag: str | None = None
        self._refusals = dict.fromkeys(Refusal, 0)  # all of them: readers never see it grow
        self._problems: dict[_Place, tuple[Refusal, str]] = {}
        self._is_copied = True
        self._copy_problem = ""
        with self._lock:
            self._guarded(_Place.COPY, self._start_with_copy)

    @property
    def current(self) -> VerifiedDocument[T] | None:
        """The document in force; None before there was a good one."""
        return self._current

    @property
    def refusals(self) -> Mapping[Refusal, int]:
        """How many documents were refused, by reason; each counted once for as long as it lies there."""
        return {code: count for code, count in self._refusals.items() if count}

    def refresh(self) -> bool:
        """Look again; True if another document is in force now, or none is any more.

        Costs one look at the source and one at the keys where nothing has changed. Never raises: whatever is
        wrong with the document, the source or the keys is counted and logged, and the one in force stays.
        """
        with self._lock:
            before = self._current
            if self._current is None:
                self._guarded(_Place.COPY, self._start_with_copy)
            self._guarded(_Place.SOURCE, self._follow)
            if not self._is_copied:
                self._guarded(_Place.COPY, self._save_copy)
            return self._current is not before

    def _start_with_copy(self) -> None:
        if self._copy is None:
            return
        stored = self._copy.read(self._kind.maximum_bytes)
        if isinstance(stored, NoContent):
            return
        trust = self._keys.trusted()
        self._take(self._kind.read(stored.content, trust), trust, "from the copy on disk")
        self._problems.pop(_Place.COPY, None)

    def _follow(self) -> None:
        trust = self._keys.trusted()
        self._withdraw_if_revoked(trust)
        stored = self._source.read(self._kind.maximum_bytes, self._tag)
        if not isinstance(stored, NoContent):
            document = self._kind.read(stored.content, trust)
            if self._is_newer(document):
                self._take(document, trust, "as published")
                self._is_copied = self._copy is None
            # Only a good version is known by its tag: a refused one is read again until it is replaced.
            self._tag = stored.tag
        self._problems.pop(_Place.SOURCE, None)

    def _is_newer(self, document: VerifiedDocument[T]) -> bool:
        """Whether it takes the place of the one in force; False where it is that one.

        Raises:
            DocumentRefusedError: It is older, or another document of the same revision.
        """
        current = self._current
        if current is None or document.revision > current.revision:
            return True
        if document.revision < current.revision:
            raise DocumentRefusedError(
                Refusal.OLDER_REVISION,
                f"the document has revision {document.revision}, older than {current.revision} in force",
            )
        if document.content != current.content:
            raise DocumentRefusedError(
                Refusal.CHANGED_CONTENT,
                f"the document has revision {document.revision}, which is in force, but other content; "
                "publish it with a revision of its own",
            )
        return False

    def _take(self, document: VerifiedDocument[T], trust: TrustedKeys, origin: str) -> None:
        self._current, self._trust = document, trust
        _LOG.info("%s: revision %d is in force, %s", self._kind.schema, document.revision, origin)

    def _withdraw_if_revoked(self, trust: TrustedKeys) -> None:
        if self._current is None or trust == self._trust:
            return
        try:
            self._kind.read(self._current.content, trust)
        except DocumentRefusedError as error:
            # A key that is merely gone is no reason: a folder that is not mounted must not stop a service.
            if error.code == Refusal.REVOKED_KEY:
                _LOG.warning("%s: revision %d is withdrawn", self._kind.schema, self._current.revision)
                self._current, self._tag = None, None
                self._refuse(_Place.SOURCE, Refusal.REVOKED_KEY, str(error))
        self._trust = trust

    def _save_copy(self) -> None:
        """Keep the document in force for the next start; what fails is tried again with the next refresh."""
        current, copy = self._current, self._copy
        if current is None or copy is None:
            return
        try:
            stored = copy.read(self._kind.maximum_bytes)
            if isinstance(stored, NoContent):
                copy.replace(current.content, None)
            elif not self._is_at_least(stored.content, current.revision):
                copy.replace(current.content, stored.tag)
        except ConflictError:
            return  # another replica on this machine has just written it
        except (TemporaryError, InvalidInputError) as error:
            if str(error) != self._copy_problem:
                self._copy_problem = str(error)
                _LOG.warning("%s: no copy could be kept for the next start: %s", self._kind.schema, error)
            return
        self._is_copied, self._copy_problem = True, ""
        self._problems.pop(_Place.COPY, None)

    def _is_at_least(self, content: bytes, revision: int) -> bool:
        """Whether ``content`` is a good document of ``revision`` or newer: another replica may be ahead."""
        try:
            return self._kind.read(content, self._keys.trusted()).revision >= revision
        except DocumentRefusedError:
            return False

    def _guarded(self, place: _Place, action: Callable[[], None]) -> None:
        try:
            action()
        except DocumentRefusedError as error:
            self._refuse(place, Refusal(error.code), str(error))
        except (InvalidInputError, TemporaryError) as error:
            self._refuse(place, Refusal.UNREADABLE, str(error))
        except Exception as error:  # noqa: BLE001 - a defect must not end the following of later documents
            if self._refuse(place, Refusal.DEFECT, repr(error)):
                _LOG.exception("%s: reading %s failed", self._kind.schema, place.value)

    def _refuse(self, place: _Place, code: Refusal, problem: str) -> bool:
        """Count and log; False if that was done already: a bad document lies there until it is replaced."""
        if self._problems.get(place) == (code, problem):
            return False
        self._problems[place] = (code, problem)
        self._refusals[code] += 1
        _LOG.warning(
            "%s: %s is refused (%s), the last good one stays: %s",
            self._kind.schema,
            place.value,
            code,
            problem,
        )
        return True
