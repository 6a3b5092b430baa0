"""A model slot: the version that an alias names, loaded and ready, swapped without a gap."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Final, Generic, TypeVar

from streamrec.contracts.errors import ArtifactError, NotReadyError
from streamrec.contracts.models import CHAMPION, ModelRef
from streamrec.registry.model_registry import ModelRegistry, ModelVersion

_LOG = logging.getLogger(__name__)

_MAXIMUM_DEPENDENCY_DEPTH: Final = 8

T = TypeVar("T")


@dataclass(frozen=True)
class FetchedModel:
    """A verified artifact on this machine.

    Attributes:
        version: What the registry says of it.
        folder: Its files, read-only.
        dependencies: The artifacts it needs to work, by role.
    """

    version: ModelVersion
    folder: Path
    dependencies: Mapping[str, FetchedModel]


@dataclass(frozen=True)
class LoadedModel(Generic[T]):
    """A model that answers. Hold on to one during a request: model and version stay together."""

    version: ModelVersion
    model: T

    @property
    def ref(self) -> ModelRef:
        """Name and version."""
        return self.version.ref


class Refresh(StrEnum):
    """What a refresh did."""

    UNCHANGED = "unchanged"
    SWAPPED = "swapped"
    KEPT_OLD = "kept_old"


class ModelSlot(Generic[T]):
    """Holds one model. `current` never blocks; `refresh` does, and belongs off the request path."""

    def __init__(
        self,
        registry: ModelRegistry,
        name: str,
        load: Callable[[FetchedModel], T],
        *,
        warm_up: Callable[[T], None],
        alias: str = CHAMPION,
    ) -> None:
        """Describe a slot; nothing is loaded before the first `refresh`.

        Args:
            registry: Where versions and artifacts come from.
            name: Registered model name.
            load: Turns an artifact into a model.
            warm_up: Runs one representative request; raises if the model cannot answer it.
            alias: Which version to hold.
        """
        self._registry = registry
        self._name = name
        self._load = load
        self._warm_up = warm_up
        self._alias = alias
        self._refreshing = Lock()
        self._loaded: LoadedModel[T] | None = None
        self._last_error: Exception | None = None

    @property
    def name(self) -> str:
        """Registered model name."""
        return self._name

    @property
    def version(self) -> ModelVersion | None:
        """The version that answers now, or None before the first one is loaded."""
        loaded = self._loaded
        return loaded.version if loaded is not None else None

    @property
    def last_error(self) -> Exception | None:
        """Why the last refresh kept the old version; None after one that worked."""
        return self._last_error

    def current(self) -> LoadedModel[T]:
        """Return the model that answers now.

        Raises:
            NotReadyError: Nothing has been loaded yet; names the model.
        """
        loaded = self._loaded
        if loaded is None:
            raise NotReadyError(f"model {self._name!r} (alias {self._alias!r}) is not loaded yet")
        return loaded

    def refresh(self) -> Refresh:
        """Load what the alias points to if that is not what answers: fetch, load, warm up, swap.

        The old model answers until the new one has answered its warm-up, and stays if anything fails.
        The slot then lets go of it; requests that still hold it finish on it.

        Raises:
            NotReadyError: Nothing could be loaded and nothing was loaded before; names model and cause.
        """
        with self._refreshing:
            try:
                version = self._registry.resolve(self._name, self._alias)
                before = self._loaded
                if before is not None and _same_artifact(before.version, version):
                    self._last_error = None
                    return Refresh.UNCHANGED
                model = self._load(fetch_with_dependencies(self._registry, version))
                self._warm_up(model)
            except Exception as error:
                # A loader may fail in any way; whichever it is, the old model must go on answering.
                self._last_error = error
                if self._loaded is None:
                    raise NotReadyError(
                        f"model {self._name!r} (alias {self._alias!r}) could not be loaded: {error}"
                    ) from error
                _LOG.exception("model %s: keeping %s", self._name, self._loaded.ref)
                return Refresh.KEPT_OLD
            self._loaded = LoadedModel(version, model)
            self._last_error = None
            _LOG.info("model %s: serving version %d", self._name, version.ref.version)
            return Refresh.SWAPPED


def fetch_with_dependencies(registry: ModelRegistry, version: ModelVersion, _depth: int = 0) -> FetchedModel:
    """Fetch and verify an artifact and all that it depends on.

    Raises:
        ArtifactError: An artifact is damaged, or versions depend on each other without end.
        NotFoundError: A version that it depends on does not exist.
        DependencyError: The registry did not answer.
    """
    if _depth > _MAXIMUM_DEPENDENCY_DEPTH:
        raise ArtifactError(f"{version.ref} is more than {_MAXIMUM_DEPENDENCY_DEPTH} dependencies deep")
    dependencies = {
        role: fetch_with_dependencies(registry, registry.get(ref), _depth + 1)
        for role, ref in version.depends_on.items()
    }
    return FetchedModel(version, registry.fetch(version), dependencies)


def _same_artifact(left: ModelVersion, right: ModelVersion) -> bool:
    return left.ref == right.ref and left.artifact_digest == right.artifact_digest
