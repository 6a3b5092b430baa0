"""Signed verdicts: without one that verifies for exactly its files, no replica loads a version.

A verdict lies beside the version's document. What MLflow's aliases, its rows or the traffic document say
changes nothing about it: whoever moves those has no key that signs. What is revoked is said twice: by the
verdict itself, and by a list (`revocations`) that an old copy of the verdict does not get around.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from streamrec.contracts.canonical_json import canonical_json
from streamrec.contracts.errors import ArtifactError, DocumentRefusedError, NotFoundError
from streamrec.contracts.governance.model_verdict import (
    MODEL_VERDICT_SCHEMA,
    ModelVerdict,
    Revocation,
    VerdictFile,
)
from streamrec.contracts.models import ModelRef
from streamrec.documents.document_kind import DocumentKind
from streamrec.documents.file_store import FileDocumentStore
from streamrec.documents.key_folder import KeyFolder, PublicKeyFolder
from streamrec.documents.publisher import DocumentPublisher
from streamrec.documents.store import NoContent
from streamrec.registry.manifest import Manifest, ManifestEntry, scan
from streamrec.registry.model_registry import ModelVersion
from streamrec.registry.revocations import Revocations
from streamrec.registry.version_document import version_digest


def _parse(document: Mapping[str, Any]) -> ModelVerdict:
    return ModelVerdict.from_json({name: value for name, value in document.items() if name != "revision"})


MODEL_VERDICT: Final = DocumentKind(MODEL_VERDICT_SCHEMA, _parse, maximum_bytes=4 * 1024 * 1024)
"""Read once for each version that is loaded; ten thousand files fit."""


class SignedVerdicts:
    """Reads the verdicts in a folder. Safe to use from several threads and processes."""

    def __init__(self, folder: Path, public_keys: Path, *, kept_revocations: Path | None = None) -> None:
        """No verdict is read yet.

        Args:
            folder: Holds the documents of versions, and their verdicts beside them.
            public_keys: Folder of the keys whose signatures count.
            kept_revocations: Where a replica keeps the last good list of revoked verdicts for its next start.
        """
        self._folder = folder
        self._keys = PublicKeyFolder(public_keys)
        self._revocations = Revocations(folder, public_keys, kept_revocations)

    def get(self, ref: ModelRef) -> ModelVerdict:
        """Return the verdict of a version, revoked or not.

        Raises:
            NotFoundError: There is none.
            ArtifactError: It is damaged, not signed by a trusted key, or another version's.
            DependencyError: It cannot be read.
        """
        path = verdict_path(self._folder, ref)
        stored = FileDocumentStore(path).read(MODEL_VERDICT.maximum_bytes)
        if isinstance(stored, NoContent):
            raise NotFoundError(
                f"{ref} has no verdict, without which nothing serves: streamrec models deploy {ref}"
            )
        try:
            verdict = MODEL_VERDICT.read(stored.content, self._keys.trusted()).value
        except DocumentRefusedError as error:
            raise ArtifactError(
                f"the verdict {path} is refused ({error.code}): {error}; a new one is signed by "
                f"'streamrec models deploy {ref}'"
            ) from error
        if verdict.model != ref:
            raise ArtifactError(f"{path} is the verdict over {verdict.model}, not over {ref}")
        return verdict

    def check(self, version: ModelVersion) -> ModelVerdict:
        """Return the verdict that allows exactly this version to serve.

        Raises:
            NotFoundError, DependencyError: As in `get`.
            ArtifactError: As in `get`; or it is revoked, nobody can tell whether it is, or it was signed over
                other files, another slot, other dependencies or another specification.
        """
        verdict = self.get(version.ref)
        if verdict.revoked is not None:
            raise ArtifactError(
                f"the verdict over {version.ref} was revoked by {verdict.revoked.by}: "
                f"{verdict.revoked.reason or 'no reason was given'}"
            )
        if self._revocations.has(document_sha256(verdict)):
            raise ArtifactError(
                f"the verdict over {version.ref} was revoked, and this is an old copy that somebody put "
                f"back; 'streamrec ledger show --subject {version.ref}' says who revoked it, and why"
            )
        if verdict.artifact_digest != version.artifact_digest:
            raise ArtifactError(
                f"the verdict over {version.ref} was signed over the artifact {verdict.artifact_digest}, and "
                f"this one is {version.artifact_digest}"
            )
        if verdict.version_digest != version_digest(version):
            raise ArtifactError(
                f"what is said of {version.ref} (its slot, what it depends on, its specification) is not "
                "what its verdict was signed over: somebody changed it since"
            )
        if manifest_of(verdict).digest != verdict.artifact_digest:
            raise ArtifactError(f"the files that the verdict over {version.ref} lists are not its artifact's")
        return verdict


def document_sha256(verdict: ModelVerdict) -> str:
    """By which the ledger, and the list of what is revoked, know a verdict again."""
    return hashlib.sha256(canonical_json(replace(verdict, revoked=None).to_json())).hexdigest()


def manifest_of(verdict: ModelVerdict) -> Manifest:
    """The exact list of files that a verdict allows."""
    return Manifest(tuple(ManifestEntry(file.path, file.size_bytes, file.sha256) for file in verdict.files))


def files_of(folder: Path) -> tuple[VerdictFile, ...]:
    """The exact list of an artifact's files, for a verdict.

    Raises:
        ArtifactError: See `scan`.
    """
    return tuple(VerdictFile(entry.path, entry.size_bytes, entry.sha256) for entry in scan(folder).entries)


def sign_verdict(folder: Path, keys: Path, verdict: ModelVerdict) -> None:
    """Sign a verdict and put it where replicas look; one that was there is replaced.

    Args:
        folder: Of the documents of versions.
        keys: Folder of the key that signs.
        verdict: What is signed.

    Raises:
        InvalidInputError, ConflictError, DependencyError: See `DocumentPublisher.publish`.
    """
    publisher = DocumentPublisher(
        FileDocumentStore(verdict_path(folder, verdict.model)), MODEL_VERDICT, KeyFolder(keys)
    )
    body = verdict.to_json()
    del body["schema"]
    publisher.publish_over(body)


def revoke_verdict(folder: Path, keys: Path, ref: ModelRef, revocation: Revocation) -> None:
    """Let no replica load a version any more.

    Raises:
        NotFoundError, ArtifactError: There is no verdict that could be revoked; nothing loads the version.
        ConflictError, DependencyError: See `DocumentPublisher.publish`.
    """
    verdict = SignedVerdicts(folder, KeyFolder(keys).public_folder).get(ref)
    sign_verdict(folder, keys, replace(verdict, revoked=revocation))


def unverified_verdict(folder: Path, ref: ModelRef) -> ModelVerdict | None:
    """What lies there as the verdict over a version, whoever signed it; None where it is none.

    It allows nothing: for who knows from elsewhere what it has to say.

    Raises:
        DependencyError: It cannot be read.
    """
    stored = FileDocumentStore(verdict_path(folder, ref)).read(MODEL_VERDICT.maximum_bytes)
    return None if isinstance(stored, NoContent) else MODEL_VERDICT.read_unverified(stored.content)


def verdict_path(folder: Path, ref: ModelRef) -> Path:
    """Where the verdict over a version lies."""
    return folder / f"{ref}.verdict.json"
