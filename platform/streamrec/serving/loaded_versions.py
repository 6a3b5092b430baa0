"""The versions of one model that a replica can answer with, loaded beside each other."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final, Generic, Protocol, TypeVar

from streamrec.contracts.errors import ArtifactError, NotReadyError
from streamrec.contracts.models import ModelRef
from streamrec.registry.model_registry import ModelVersion
from streamrec.serving.load_attempts import LoadAttempts, UncountedAttempts

_LOG = logging.getLogger(__name__)

RETIRE_AFTER_S: Final = 30.0
"""How long a version stays that gets no more traffic: requests that began under it are done by then."""

_MAXIMUM_DEPENDENCY_DEPTH: Final = 8
_FIRST_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 30.0

T = TypeVar("T")


class ArtifactSource(Protocol):
    """Where versions and their files come from."""

    def get(self, ref: ModelRef) -> ModelVersion:
        """Return a version. Raises `NotFoundError` or `ArtifactError`."""
        ...

    def fetch(self, version: ModelVersion) -> Path:
        """Return a verified, read-only folder. Raises `ArtifactError` or `DependencyError`."""
        ...

    def keep_only(self, versions: Collection[ModelVersion]) -> None:
        """Let the fetched files of all other versions be evicted from this machine."""
        ...


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


@dataclass(slots=True)
class _Failure:
    problem: str
    retry_at_s: float
    pause_s: float


class LoadedVersions(Generic[T]):
    """`get` never blocks; `keep` does, and belongs off the request path. Safe to use from several threads."""

    def __init__(
        self,
        source: ArtifactSource,
        load: Callable[[FetchedModel], T],
        *,
        warm_up: Callable[[T], None],
        retire_after_s: float = RETIRE_AFTER_S,
        attempts: LoadAttempts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is loaded before the first `keep`.

        Args:
            source: Where versions and artifacts come from.
            load: Turns an artifact into a model.
            warm_up: Runs one representative request; raises if the model cannot answer it.
            retire_after_s: How long a version stays that is no longer wanted.
            attempts: Refuses what processes before this one died of; nothing where None.
            clock: Monotonic time, s.
        """
        self._source, self._load, self._warm_up = source, load, warm_up
        self._retire_after_s, self._clock = retire_after_s, clock
        self._attempts = attempts or UncountedAttempts()
        self._keeping = Lock()
        self._loaded: Mapping[ModelRef, LoadedModel[T]] = {}
        self._artifacts: dict[ModelRef, tuple[ModelVersion, ...]] = {}
        self._unwanted_since_s: dict[ModelRef, float] = {}
        self._failures: dict[ModelRef, _Failure] = {}

    @property
    def refs(self) -> tuple[ModelRef, ...]:
        """The versions that can answer, sorted."""
        return tuple(sorted(self._loaded))

    @property
    def problem(self) -> str:
        """Why a wanted version is not loaded; empty where none is missing."""
        failures = sorted(self._failures.items())
        return "; ".join(f"{ref}: {failure.problem}" for ref, failure in failures)

    def get(self, ref: ModelRef) -> LoadedModel[T]:
        """Return a version that answers.

        Raises:
            NotReadyError: It is not loaded; says why where that is known.
        """
        loaded = self._loaded.get(ref)
        if loaded is None:
            failure = self._failures.get(ref)
            raise NotReadyError(f"{ref} is not loaded{f': {failure.problem}' if failure else ' yet'}")
        return loaded

    def keep(self, wanted: Collection[ModelRef]) -> bool:
        """Load what is wanted and not there: fetch, verify, load, warm up. Let go of what nobody wants.

        One that fails leaves the others as they are, and is tried again by a later call, less and less often.

        Returns:
            Whether everything wanted is loaded.
        """
        with self._keeping:
            for gone in self._failures.keys() - set(wanted):
                del self._failures[gone]
            due = [ref for ref in wanted if ref not in self._loaded and self._is_due(ref)]
            for ref in due:
                self._try_to_load(ref)
            if self._retire(wanted) or due:
                self._source.keep_only([version for used in self._artifacts.values() for version in used])
            return all(ref in self._loaded for ref in wanted)

    def _is_due(self, ref: ModelRef) -> bool:
        failure = self._failures.get(ref)
        return failure is None or self._clock() >= failure.retry_at_s

    def _try_to_load(self, ref: ModelRef) -> None:
        try:
            with self._attempts.loading(ref):
                version = self._source.get(ref)
                fetched = fetch_with_dependencies(self._source, version)
                model = self._load(fetched)
                self._warm_up(model)
        except Exception as error:  # noqa: BLE001 - whatever a loader raises, the other versions answer on
            before = self._failures.get(ref)
            problem = f"{type(error).__name__}: {error}" if not str(error) else str(error)
            pause_s = _FIRST_RETRY_S if before is None else min(2.0 * before.pause_s, _LONGEST_RETRY_S)
            self._failures[ref] = _Failure(problem, self._clock() + pause_s, pause_s)
            if before is None or before.problem != problem:
                _LOG.warning("%s cannot be loaded", ref, exc_info=True)
            return
        self._failures.pop(ref, None)
        self._artifacts[ref] = tuple(_versions(fetched))
        self._loaded = {**self._loaded, ref: LoadedModel(version, model)}
        _LOG.info("%s is loaded", ref)

    def _retire(self, wanted: Collection[ModelRef]) -> bool:
        """Whether anything was let go of."""
        now_s = self._clock()
        for ref in self._loaded:
            if ref in wanted:
                self._unwanted_since_s.pop(ref, None)
            else:
                self._unwanted_since_s.setdefault(ref, now_s)
        over = {
            ref for ref, since_s in self._unwanted_since_s.items() if now_s - since_s >= self._retire_after_s
        }
        if over:
            self._loaded = {ref: loaded for ref, loaded in self._loaded.items() if ref not in over}
            for ref in over:
                del self._unwanted_since_s[ref], self._artifacts[ref]
                _LOG.info("%s is no longer loaded", ref)
        return bool(over)


def _versions(fetched: FetchedModel) -> Iterator[ModelVersion]:
    """The version and all that it depends on."""
    yield fetched.version
    for dependency in fetched.dependencies.values():
        yield from _versions(dependency)


def fetch_with_dependencies(source: ArtifactSource, version: ModelVersion, _depth: int = 0) -> FetchedModel:
    """Fetch and verify an artifact and all that it depends on.

    Raises:
        ArtifactError: An artifact is damaged, or versions depend on each other without end.
        NotFoundError: A version that it depends on does not exist.
        DependencyError: The source did not answer.
    """
    if _depth > _MAXIMUM_DEPENDENCY_DEPTH:
        raise ArtifactError(f"{version.ref} is more than {_MAXIMUM_DEPENDENCY_DEPTH} dependencies deep")
    dependencies = {
        role: fetch_with_dependencies(source, source.get(ref), _depth + 1)
        for role, ref in version.depends_on.items()
    }
    return FetchedModel(version, source.fetch(version), dependencies)
