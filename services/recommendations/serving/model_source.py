"""Where a replica finds its model: versions that the composing process resolved, or the registry itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from streamrec.contracts.errors import NotFoundError, NotReadyError
from streamrec.contracts.models import CHAMPION, ModelRef, ModelSpec
from streamrec.registry.mlflow_registry import MlflowModelRegistry, RegistrySettings
from streamrec.registry.model_registry import ModelRegistry, ModelVersion


@dataclass(frozen=True)
class ModelSource:
    """A registry, and what is already known of it. Can be sent to another process.

    A replica on the machine that resolved the versions loads them from the artifact cache, each byte
    verified, without importing MLflow, which would cost every replica seconds of start-up. A replica
    elsewhere, or without resolved versions, asks the registry. All replicas of one start serve the same.

    Attributes:
        registry: Where the registry lives.
        resolved: The version by registered name that `CHAMPION` pointed to.
        needed: Those versions and all that they depend on, by reference.
    """

    registry: RegistrySettings
    resolved: Mapping[str, ModelVersion] = field(default_factory=dict)
    needed: Mapping[ModelRef, ModelVersion] = field(default_factory=dict)

    def open(self) -> ModelRegistry:
        """Return the registry as a replica should see it."""
        return _ResolvedRegistry(MlflowModelRegistry(self.registry), self.resolved, self.needed)


def resolve_champions(settings: RegistrySettings, names: Iterable[str]) -> ModelSource:
    """Resolve the champion of each name, with all it depends on, and fetch the artifacts into the cache.

    Raises:
        NotReadyError: A model has no champion; the message names every missing one.
        ArtifactError: An artifact is damaged.
        DependencyError: The registry did not answer.
    """
    registry = MlflowModelRegistry(settings)
    resolved: dict[str, ModelVersion] = {}
    needed: dict[ModelRef, ModelVersion] = {}
    missing: list[str] = []
    for name in names:
        try:
            version = registry.resolve(name, CHAMPION)
        except NotFoundError:
            missing.append(name)
            continue
        resolved[name] = _sendable(version)
        _collect(registry, version, needed)
    if missing:
        raise NotReadyError(
            f"no version of {', '.join(missing)} has the alias {CHAMPION!r}; "
            "train and register the models with 'streamrec recommendations train all'"
        )
    for version in needed.values():
        registry.fetch(version)
    return ModelSource(settings, resolved, needed)


def _collect(registry: ModelRegistry, version: ModelVersion, needed: dict[ModelRef, ModelVersion]) -> None:
    if version.ref in needed:
        return
    needed[version.ref] = _sendable(version)
    for ref in version.depends_on.values():
        _collect(registry, registry.get(ref), needed)


def _sendable(version: ModelVersion) -> ModelVersion:
    """The same with plain dictionaries: read-only views of them cannot be sent to another process."""
    return replace(
        version,
        metrics=dict(version.metrics),
        parameters=dict(version.parameters),
        depends_on=dict(version.depends_on),
    )


@dataclass(frozen=True)
class _ResolvedRegistry:
    """Answers for the versions it was given; passes everything else on."""

    registry: ModelRegistry
    resolved: Mapping[str, ModelVersion]
    needed: Mapping[ModelRef, ModelVersion]

    def resolve(self, name: str, alias: str = CHAMPION) -> ModelVersion:
        """Return the resolved version if there is one."""
        if alias == CHAMPION and name in self.resolved:
            return self.resolved[name]
        return self.registry.resolve(name, alias)

    def get(self, ref: ModelRef) -> ModelVersion:
        """Return a needed version if it is one."""
        return self.needed[ref] if ref in self.needed else self.registry.get(ref)

    def fetch(self, version: ModelVersion) -> Path:
        """Fetch from the cache, verified, or from the registry."""
        return self.registry.fetch(version)

    def register(self, spec: ModelSpec, artifact: Path) -> ModelVersion:
        """Pass on."""
        return self.registry.register(spec, artifact)

    def find(self, name: str, *, data_fingerprint: str, settings_fingerprint: str) -> ModelVersion | None:
        """Pass on."""
        return self.registry.find(
            name, data_fingerprint=data_fingerprint, settings_fingerprint=settings_fingerprint
        )

    def names(self) -> Sequence[str]:
        """Pass on."""
        return self.registry.names()

    def versions(self, name: str) -> Sequence[ModelVersion]:
        """Pass on."""
        return self.registry.versions(name)

    def set_alias(self, ref: ModelRef, alias: str) -> None:
        """Pass on."""
        self.registry.set_alias(ref, alias)
