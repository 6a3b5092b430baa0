"""Whom a workspace has erased: recorded by the command, followed by whoever could take them in again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streamrec.contracts.errors import ConflictError, StreamRecError
from streamrec.documents.file_store import FileDocumentStore
from streamrec.documents.follower import DocumentFollower
from streamrec.documents.key_folder import KeyFolder, PublicKeyFolder
from streamrec.documents.publisher import DocumentPublisher
from streamrec.erasure.erasure_list import ERASURES, ErasureList, Secret

_LOG = logging.getLogger(__name__)

FOLLOWED_WITHIN_S: Final = 2.0
"""How long a running service may take to hear of an erasure: what it keeps of the person until then is
removed with the rest, what it would keep later is not."""

_ATTEMPTS: Final = 10


@dataclass(frozen=True)
class ErasureFiles:
    """Where the list lies. Paths alone, so that it can be sent to another process.

    Attributes:
        document: The published list; it need not exist yet.
        secret: The key of the digests.
        keys: The workspace's folder of keys.
    """

    document: Path
    secret: Path
    keys: Path

    def follow(self) -> ErasedPersons:
        """Return who is erased now; `ErasedPersons.refresh` looks again."""
        persons = ErasedPersons(self)
        persons.refresh()
        return persons


class ErasedPersons:
    """Who is erased, as far as was heard. Safe to use from several threads.

    A damaged or unsigned list is refused and logged, and the last good one stays.
    """

    def __init__(self, files: ErasureFiles) -> None:
        self._secret = Secret(files.secret)
        self._follower = DocumentFollower(
            FileDocumentStore(files.document), ERASURES, PublicKeyFolder(KeyFolder(files.keys).public_folder)
        )

    def refresh(self) -> bool:
        """Look again; True if the list has changed. Never raises."""
        return self._follower.refresh()

    def is_erased(self, person: str) -> bool:
        """Whether nothing of this person may be kept.

        Raises:
            ArtifactError: There is a list, and the secret that it is read with is missing or damaged.
            DependencyError: The secret cannot be read.
        """
        current = self._follower.current
        if current is None or not current.value.erased:
            return False
        return self._secret.digest_of(person) in current.value.erased


def record_erasure(
    files: ErasureFiles,
    person: str,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Put a person on the list, unless it holds the person; return the digest once services follow it.

    Raises:
        DocumentRefusedError: What lies there is damaged: a list that cannot be read must not be replaced by a
            shorter one. Restore it from a backup.
        ArtifactError: The secret is missing or damaged.
        DependencyError: List, secret or keys cannot be read or written.
        ConflictError: Others publish without pause.
    """
    secret = Secret(files.secret)
    publisher = DocumentPublisher(FileDocumentStore(files.document), ERASURES, KeyFolder(files.keys))
    for _ in range(_ATTEMPTS):
        published = publisher.published()
        if published is None:
            secret.make()
        digest = secret.digest_of(person)
        listed = ErasureList() if published is None else published.value
        if digest in listed.erased:
            return digest
        body = listed.with_person(digest, clock()).to_body()
        try:
            publisher.publish(body, expected_revision=0 if published is None else published.revision)
        except ConflictError:
            continue
        sleep(FOLLOWED_WITHIN_S)
        return digest
    raise ConflictError(f"{files.document}: others publish without pause; try again")


def digest_on_list(files: ErasureFiles, person: str) -> str | None:
    """Return a person's digest, or None if they are not on the list.

    Raises:
        DocumentRefusedError: The list is damaged.
        ArtifactError: The secret is missing or damaged.
        DependencyError: List, secret or keys cannot be read.
    """
    published = DocumentPublisher(
        FileDocumentStore(files.document), ERASURES, KeyFolder(files.keys)
    ).published()
    if published is None:
        return None
    digest = Secret(files.secret).digest_of(person)
    return digest if digest in published.value.erased else None


def must_not_be_kept(persons: ErasedPersons, person: str) -> bool:
    """As `ErasedPersons.is_erased`, for a service: where that cannot be told, nothing is kept.

    What is lost then is one event; what would be kept otherwise is what somebody was promised to be rid of.
    """
    try:
        return persons.is_erased(person)
    except StreamRecError as error:
        _LOG.error("nothing is kept, because nobody knows who was erased: %s", error)
        return True
