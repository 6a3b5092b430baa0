"""The registry without MLflow, in memory: for tests and for processes that need not keep their models."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock

from streamrec.contracts.errors import NotFoundError
from streamrec.contracts.models import CHAMPION, ModelRef, ModelSpec, validate_model_name
from streamrec.registry.artifact_cache import DEFAULT_MAXIMUM_BYTES, ArtifactCache
from streamrec.registry.manifest import write_manifest
from streamrec.registry.model_registry import ModelVersion
from streamrec.registry.version_document import (
    new_document,
    parse_document,
    stage_artifact,
    validate_alias,
    validate_attachment,
)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class _Model:
    documents: list[str] = field(default_factory=list)
    aliases: dict[str, int] = field(default_factory=dict)


class MemoryModelRegistry:
    """Keeps versions and artifacts in memory; `fetch` writes to ``cache_folder``. Thread-safe."""

    def __init__(
        self,
        cache_folder: Path,
        clock: Callable[[], datetime] = _now,
        *,
        cache_maximum_bytes: int = DEFAULT_MAXIMUM_BYTES,
    ) -> None:
        self._cache = ArtifactCache(cache_folder, cache_maximum_bytes)
        self._clock = clock
        self._lock = RLock()
        self._models: dict[str, _Model] = {}
        self._artifacts: dict[str, dict[str, bytes]] = {}
        self._notes: dict[str, str] = {}
        self._attached: dict[tuple[ModelRef, str], bytes] = {}

    def register(self, spec: ModelSpec, artifact: Path) -> ModelVersion:
        """Store the folder ``artifact`` as the next version; see `ModelRegistry.register`."""
        validate_model_name(spec.name)
        for ref in spec.depends_on.values():
            self.get(ref)
        with tempfile.TemporaryDirectory(prefix="streamrec-register-") as temporary:
            staging = Path(temporary) / "artifact"
            stage_artifact(artifact, staging)
            digest = write_manifest(staging)
            content = {
                path.relative_to(staging).as_posix(): path.read_bytes()
                for path in staging.rglob("*")
                if path.is_file()
            }
        document = new_document(spec, digest, self._clock())
        with self._lock:
            self._artifacts[digest] = content
            model = self._models.setdefault(spec.name, _Model())
            model.documents.append(document)
            return self.get(ModelRef(spec.name, len(model.documents)))

    def get(self, ref: ModelRef) -> ModelVersion:
        """Return one version; see `ModelRegistry.get`."""
        with self._lock:
            model = self._models.get(ref.name)
            if model is None or ref.version > len(model.documents):
                raise NotFoundError(f"there is no model version {ref}")
            aliases = frozenset(alias for alias, version in model.aliases.items() if version == ref.version)
            return parse_document(model.documents[ref.version - 1], ref, aliases)

    def resolve(self, name: str, alias: str = CHAMPION) -> ModelVersion:
        """Return the version that an alias points to; see `ModelRegistry.resolve`."""
        validate_model_name(name)
        validate_alias(alias)
        with self._lock:
            model = self._models.get(name)
            if model is None or alias not in model.aliases:
                raise NotFoundError(f"model {name!r} has no version with the alias {alias!r}")
            return self.get(ModelRef(name, model.aliases[alias]))

    def find(self, name: str, *, data_fingerprint: str, settings_fingerprint: str) -> ModelVersion | None:
        """Return the newest version trained on this data with these settings; see `ModelRegistry.find`."""
        wanted = (data_fingerprint, settings_fingerprint)
        for version in self.versions(name):
            if (version.data_fingerprint, version.settings_fingerprint) == wanted:
                return version
        return None

    def names(self) -> Sequence[str]:
        """Return the names of the registered models, sorted; see `ModelRegistry.names`."""
        with self._lock:
            return tuple(sorted(self._models))

    def versions(self, name: str) -> Sequence[ModelVersion]:
        """Return all versions, newest first; see `ModelRegistry.versions`."""
        validate_model_name(name)
        with self._lock:
            count = len(self._models[name].documents) if name in self._models else 0
            return tuple(self.get(ModelRef(name, number)) for number in range(count, 0, -1))

    def set_alias(self, ref: ModelRef, alias: str) -> None:
        """Point an alias at a version; see `ModelRegistry.set_alias`."""
        validate_alias(alias)
        with self._lock:
            self.get(ref)
            self._models[ref.name].aliases[alias] = ref.version

    def remove_alias(self, name: str, alias: str) -> None:
        """Let an alias point nowhere; see `ModelRegistry.remove_alias`."""
        validate_model_name(name)
        validate_alias(alias)
        with self._lock:
            if name not in self._models:
                raise NotFoundError(f"there is no model {name!r}")
            self._models[name].aliases.pop(alias, None)

    def fetch(self, version: ModelVersion) -> Path:
        """Return a verified local folder; see `ModelRegistry.fetch`."""
        with self._lock:
            content = self._artifacts.get(version.artifact_digest)

        def download(folder: Path) -> None:
            if content is None:
                raise NotFoundError(f"{version.ref}: there is no artifact {version.artifact_digest}")
            for relative, data in content.items():
                path = folder / relative
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)

        return self._cache.fetch(version.artifact_digest, download)

    def note(self, key: str) -> str | None:
        """See `noted_documents.Notes`."""
        return self._notes.get(key)

    def write_note(self, key: str, text: str) -> None:
        """See `noted_documents.Notes`."""
        self._notes[key] = text

    def attach(self, ref: ModelRef, name: str, content: bytes) -> None:
        """Keep a file beside an artifact; see `ModelRegistry.attach`."""
        validate_attachment(name, content)
        with self._lock:
            self.get(ref)
            self._attached[ref, name] = content

    def attached(self, ref: ModelRef, name: str) -> bytes | None:
        """Return what was attached; see `ModelRegistry.attached`."""
        validate_attachment(name)
        with self._lock:
            self.get(ref)
            return self._attached.get((ref, name))

    def keep_only(self, versions: Collection[ModelVersion]) -> None:
        """Let the files of all other versions be evicted; see `ModelRegistry.keep_only`."""
        self._cache.keep_only({version.artifact_digest for version in versions})
