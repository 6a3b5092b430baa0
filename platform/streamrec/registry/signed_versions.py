"""What a replica has to know of a version, as a signed document: it needs no MLflow to start or to follow.

Whoever puts a version into the traffic document publishes it, and all that it depends on, here first. The
document holds the digest of the artifact, so that a replica loads exactly the bytes that were promoted;
nothing is read or published without the verdict that allows it (`signed_verdicts`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from streamrec.contracts.errors import ArtifactError, DocumentRefusedError, InvalidInputError, NotFoundError
from streamrec.contracts.models import ModelRef
from streamrec.documents.document_kind import DocumentKind
from streamrec.documents.file_store import FileDocumentStore
from streamrec.documents.key_folder import KeyFolder, PublicKeyFolder
from streamrec.documents.publisher import DocumentPublisher
from streamrec.documents.store import NoContent
from streamrec.registry.model_registry import ModelRegistry, ModelVersion
from streamrec.registry.signed_verdicts import SignedVerdicts
from streamrec.registry.version_document import parse_document, version_digest, version_document

_MAXIMUM_DEPENDENCY_DEPTH: Final = 8


def _parse(document: Mapping[str, Any]) -> ModelVersion:
    unknown = document.keys() - {"schema", "revision", "model", "version"}
    if unknown:
        raise InvalidInputError(min(unknown), "is not a field of this document")
    try:
        ref = ModelRef.parse(document["model"])
        return parse_document(json.dumps(document["version"]), ref, frozenset())
    except (KeyError, TypeError, ArtifactError) as error:
        raise InvalidInputError("version", f"is not that of a registered version: {error}") from error


MODEL_VERSION: Final = DocumentKind("streamrec.model_version.v1", _parse, maximum_bytes=262_144)


class SignedVersions:
    """Reads the documents of a folder. Safe to use from several threads and processes."""

    def __init__(self, folder: Path, public_keys: Path, *, kept_revocations: Path | None = None) -> None:
        """No version is read yet.

        Args:
            folder: Holds one document a version.
            public_keys: Folder of the keys whose signatures count.
            kept_revocations: See `SignedVerdicts`.
        """
        self._folder = folder
        self._keys = PublicKeyFolder(public_keys)
        self._verdicts = SignedVerdicts(folder, public_keys, kept_revocations=kept_revocations)

    def get(self, ref: ModelRef) -> ModelVersion:
        """Return what was published of a version, if its verdict allows it to serve.

        Raises:
            NotFoundError: Nothing was, or there is no verdict.
            ArtifactError: The document or the verdict is damaged, not signed by a trusted key, or another
                version's; or the verdict is revoked or over other files.
            DependencyError: It cannot be read.
        """
        path = document_path(self._folder, ref)
        stored = FileDocumentStore(path).read(MODEL_VERSION.maximum_bytes)
        if isinstance(stored, NoContent):
            raise NotFoundError(f"{ref} was never promoted: there is no {path}")
        try:
            version = MODEL_VERSION.read(stored.content, self._keys.trusted()).value
        except DocumentRefusedError as error:
            raise ArtifactError(f"{path} is refused ({error.code}): {error}") from error
        if version.ref != ref:
            raise ArtifactError(f"{path} is the document of {version.ref}, not of {ref}")
        self._verdicts.check(version)
        return version


def publish_versions(
    registry: ModelRegistry, ref: ModelRef, folder: Path, keys: Path, _depth: int = 0
) -> ModelVersion:
    """Publish a version and all that it depends on, after fetching and verifying their artifacts.

    What is published already stays as it is: a version never changes.

    Args:
        registry: Where the version is registered.
        ref: Which one.
        folder: Where the documents lie.
        keys: Folder of the key that signs.

    Raises:
        NotFoundError: There is no such version, or no verdict over it.
        ArtifactError: An artifact is damaged, its verdict does not allow it, another version was published
            under its name, or versions depend on each other without end.
        TemporaryError: The registry did not answer, or the folder cannot be written.
    """
    if _depth > _MAXIMUM_DEPENDENCY_DEPTH:
        raise ArtifactError(f"{ref} is more than {_MAXIMUM_DEPENDENCY_DEPTH} dependencies deep")
    version = registry.get(ref)
    for needed in version.depends_on.values():
        publish_versions(registry, needed, folder, keys, _depth + 1)
    SignedVerdicts(folder, KeyFolder(keys).public_folder).check(version)
    registry.fetch(version)
    publisher = DocumentPublisher(
        FileDocumentStore(document_path(folder, ref)), MODEL_VERSION, KeyFolder(keys)
    )
    try:
        published = publisher.published()
    except DocumentRefusedError:
        published = None  # replaced by a good one
    if published is None:
        publisher.publish(_body(version), expected_revision=0)
    elif published.value.artifact_digest != version.artifact_digest:
        raise ArtifactError(
            f"{ref} has the artifact {version.artifact_digest} in the registry, but was promoted with "
            f"{published.value.artifact_digest}: register what is new as a new version"
        )
    return version


def sign_version_again(folder: Path, keys: Path, ref: ModelRef, expected_digest: str) -> bool:
    """Sign the document of a version with the key that signs now, if it says what it has to.

    Args:
        folder: Where the documents lie.
        keys: Folder of the key that signs.
        ref: The version.
        expected_digest: Its `version_digest`, from a verdict.

    Returns:
        Whether it did; it does not where there is none, or it says something else.

    Raises:
        ConflictError, DependencyError: See `DocumentPublisher.publish`.
    """
    store = FileDocumentStore(document_path(folder, ref))
    stored = store.read(MODEL_VERSION.maximum_bytes)
    version = None if isinstance(stored, NoContent) else MODEL_VERSION.read_unverified(stored.content)
    if version is None or version.ref != ref or version_digest(version) != expected_digest:
        return False
    DocumentPublisher(store, MODEL_VERSION, KeyFolder(keys)).publish_over(_body(version))
    return True


def _body(version: ModelVersion) -> dict[str, Any]:
    return {"model": str(version.ref), "version": json.loads(version_document(version))}


def document_path(folder: Path, ref: ModelRef) -> Path:
    """Where the document of a version lies."""
    return folder / f"{ref}.json"
