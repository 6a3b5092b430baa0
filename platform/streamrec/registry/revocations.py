"""The list of revoked verdicts, as replicas follow it: an old copy of a verdict, put back, allows nothing.

A follower refuses a list that is older than the one it has, and keeps the last good one where that is taken
away; a replica that knows no list at all loads nothing, since nobody can tell it what was revoked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from streamrec.contracts.errors import ArtifactError, DocumentRefusedError
from streamrec.contracts.governance.revoked_verdicts import REVOKED_VERDICTS_SCHEMA, RevokedVerdicts
from streamrec.documents.document_kind import DocumentKind
from streamrec.documents.file_store import FileDocumentStore
from streamrec.documents.follower import DocumentFollower
from streamrec.documents.key_folder import KeyFolder, PublicKeyFolder
from streamrec.documents.publisher import DocumentPublisher


def _parse(document: Mapping[str, Any]) -> RevokedVerdicts:
    return RevokedVerdicts.from_json({name: value for name, value in document.items() if name != "revision"})


REVOKED_VERDICTS: Final = DocumentKind(REVOKED_VERDICTS_SCHEMA, _parse, maximum_bytes=4 * 1024 * 1024)
"""Read where it has changed; fifty thousand verdicts fit."""


class Revocations:
    """What is revoked, as known here. Safe to use from several threads."""

    def __init__(self, folder: Path, public_keys: Path, kept: Path | None = None) -> None:
        """The published list is not read before the first question.

        Args:
            folder: Of the documents of versions; the list lies among them.
            public_keys: Folder of the keys whose signatures count.
            kept: Where a replica keeps the last good list for its next start; None: it keeps none.
        """
        self._path = revocations_path(folder)
        self._follower = DocumentFollower(
            FileDocumentStore(self._path),
            REVOKED_VERDICTS,
            PublicKeyFolder(public_keys),
            copy=None if kept is None else FileDocumentStore(kept),
        )

    def has(self, document_sha256: str) -> bool:
        """Whether a verdict is revoked.

        Args:
            document_sha256: See `streamrec.registry.signed_verdicts.document_sha256`.

        Raises:
            ArtifactError: There is no list that verifies, and none was known before: nobody can tell.
        """
        self._follower.refresh()
        current = self._follower.current
        if current is None:
            raise ArtifactError(
                f"{self._path} holds no list of revoked verdicts that verifies, so that nobody can tell what "
                "was revoked: 'streamrec keys sign-again' writes it from the ledger"
            )
        return document_sha256 in current.value.verdicts


def publish_revocations(folder: Path, keys: Path, revoked: Collection[str]) -> None:
    """Sign the list of all verdicts that are revoked, and put it where replicas look.

    Args:
        folder: Of the documents of versions.
        keys: Folder of the key that signs.
        revoked: Digests of the verdicts.

    Raises:
        InvalidInputError, ConflictError, DependencyError: See `DocumentPublisher.publish`.
    """
    _publisher(folder, keys).publish_over({"verdicts": sorted(set(revoked))})


def published_revocations(folder: Path, keys: Path) -> frozenset[str] | None:
    """The list as it is published; None where there is none that replicas accept.

    Raises:
        InvalidInputError, DependencyError: See `DocumentPublisher.published`.
    """
    try:
        published = _publisher(folder, keys).published()
    except DocumentRefusedError:
        return None
    return None if published is None else frozenset(published.value.verdicts)


def revocations_path(folder: Path) -> Path:
    """Where the list lies."""
    return folder / "revocations.json"


def _publisher(folder: Path, keys: Path) -> DocumentPublisher[RevokedVerdicts]:
    return DocumentPublisher(FileDocumentStore(revocations_path(folder)), REVOKED_VERDICTS, KeyFolder(keys))
