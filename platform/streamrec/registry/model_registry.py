"""The port to the model registry."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from streamrec.contracts.models import CHAMPION, ModelRef, ModelSignature, ModelSpec


@dataclass(frozen=True)
class ModelVersion:
    """One registered version.

    Attributes:
        ref: Name and version.
        artifact_digest: SHA-256 of the artifact's manifest: changes with any byte, name or count of files.
        data_fingerprint, settings_fingerprint, metrics, parameters, depends_on, signature, slot,
            specification, attachments: As in `ModelSpec`.
        created_at: When it was registered, UTC.
        aliases: Aliases that point here now.
    """

    ref: ModelRef
    artifact_digest: str
    data_fingerprint: str
    settings_fingerprint: str
    metrics: Mapping[str, float]
    parameters: Mapping[str, Any]
    depends_on: Mapping[str, ModelRef]
    signature: ModelSignature
    created_at: datetime
    aliases: frozenset[str]
    slot: str | None = None
    specification: Mapping[str, Any] | None = None
    attachments: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


class ModelRegistry(Protocol):
    """Which versions exist. Every call raises `DependencyError` when the registry does not answer."""

    def register(self, spec: ModelSpec, artifact: Path) -> ModelVersion:
        """Store the folder ``artifact`` as the next version of ``spec.name``.

        Raises:
            ArtifactError: The folder is empty, or holds a file of a refused format, a link or a hidden file.
        """
        ...

    def get(self, ref: ModelRef) -> ModelVersion:
        """Return one version. Raises `NotFoundError`."""
        ...

    def resolve(self, name: str, alias: str = CHAMPION) -> ModelVersion:
        """Return the version that an alias points to. Raises `NotFoundError`, naming model and alias."""
        ...

    def find(self, name: str, *, data_fingerprint: str, settings_fingerprint: str) -> ModelVersion | None:
        """Return the newest version trained on this data with these settings, or None."""
        ...

    def names(self) -> Sequence[str]:
        """Return the names of the registered models, sorted.

        A registration that was cut off may leave a name without a version.
        """
        ...

    def versions(self, name: str) -> Sequence[ModelVersion]:
        """Return all versions, newest first; empty for an unknown name."""
        ...

    def set_alias(self, ref: ModelRef, alias: str) -> None:
        """Point ``alias`` of ``ref.name`` at ``ref``. Raises `NotFoundError`."""
        ...

    def remove_alias(self, name: str, alias: str) -> None:
        """Let ``alias`` of a model point nowhere; nothing happens where it does. Raises `NotFoundError`."""
        ...

    def fetch(self, version: ModelVersion) -> Path:
        """Return a local, read-only folder with the artifact, verified against its manifest.

        Folders are cached by digest and verified at every call. It stays until the process ends, or
        `keep_only` lets go of it.

        Raises:
            ArtifactError: A byte, a name or the number of files differs from the manifest.
        """
        ...

    def attach(self, ref: ModelRef, name: str, content: bytes) -> None:
        """Keep a file at the run of a version, beside its artifact; one of that name is replaced.

        Raises:
            NotFoundError: There is no such version.
            InvalidInputError: The name is none (`validate_attachment`), or the content is too long.
        """
        ...

    def attached(self, ref: ModelRef, name: str) -> bytes | None:
        """Return what was attached under a name; None where nothing was.

        Only what `ModelVersion.attachments` names has a digest to be held against: all else is for people.

        Raises:
            NotFoundError: There is no such version.
            InvalidInputError: The name is none.
        """
        ...

    def keep_only(self, versions: Collection[ModelVersion]) -> None:
        """Let the fetched files of all other versions be evicted from this machine when room is needed."""
        ...
