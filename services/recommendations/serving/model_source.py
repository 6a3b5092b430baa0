"""Where a replica finds its models: the traffic document says which, signed documents beside it say what they
are, and the cache of verified artifacts holds them.

No replica imports MLflow for what this machine has fetched already: that would cost each of them seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from services.recommendations.contracts.stages import MODEL_NAMES, MODEL_STAGES, SLOTS
from streamrec.contracts.errors import NotReadyError
from streamrec.contracts.models import ModelRef
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.traffic import Traffic
from streamrec.registry.mlflow_registry import MlflowModelRegistry, RegistrySettings
from streamrec.registry.model_registry import ModelVersion
from streamrec.registry.signed_versions import SignedVersions
from streamrec.rollout.heartbeats import FileHeartbeats
from streamrec.rollout.traffic_files import TrafficFiles
from streamrec.serving.load_attempts import FileLoadAttempts
from streamrec.serving.loaded_versions import FetchedModel, LoadedVersions, fetch_with_dependencies
from streamrec.serving.replica import ModelReplica

T = TypeVar("T")

_WHY_IT_DIED: Final = (
    ": it may take more memory than a challenger is given (`ChallengerSettings.memory_bytes`), or crash a "
    "library; see the log of the replica"
)


@dataclass(frozen=True)
class ModelSource:
    """Where the models of the service are. Can be sent to another process.

    Attributes:
        registry: Where the registry lives.
        traffic: Where the traffic document lies.
    """

    registry: RegistrySettings
    traffic: TrafficFiles

    def open_replica(
        self,
        stage: str,
        load: Callable[[FetchedModel], T],
        warm_up: Callable[[T], None],
        role: ServingRole = ServingRole.CHAMPION,
    ) -> ModelReplica[T]:
        """Return a replica of a stage's slot; it has loaded nothing yet."""
        attempts = None
        if role is ServingRole.CHALLENGER:
            attempts = FileLoadAttempts(self.traffic.folder / "load_attempts", remedy=_WHY_IT_DIED)
        return ModelReplica(
            SLOTS[stage],
            MODEL_NAMES[stage],
            LoadedVersions(self._artifacts(), load, warm_up=warm_up, attempts=attempts),
            self.traffic.open_follower(),
            FileHeartbeats(self.traffic.heartbeats),
            role=role,
        )

    def check(self) -> None:
        """Verify that every stage has a champion on this machine.

        Raises:
            NotReadyError: A slot has none; the message names every one, and what to do.
            ArtifactError: An artifact or a document is damaged.
            DependencyError: The registry did not answer.
        """
        follower = self.traffic.open_follower()
        follower.refresh()
        document = follower.current
        versions = stage_versions(None if document is None else document.value)
        missing = [SLOTS[stage] for stage in MODEL_STAGES if stage not in versions]
        if missing:
            raise NotReadyError(
                f"no version is promoted in {', '.join(missing)}: train the models with 'streamrec "
                "recommendations train all', then 'streamrec models deploy NAME@VERSION ...', and "
                "promote what is eligible"
            )
        artifacts = self._artifacts()
        for stage, number in versions.items():
            fetch_with_dependencies(artifacts, artifacts.get(ModelRef(MODEL_NAMES[stage], number)))
        artifacts.keep_only(())  # from here on the replicas hold what they use

    def _artifacts(self) -> _PromotedArtifacts:
        return _PromotedArtifacts(
            SignedVersions(
                self.traffic.versions,
                self.traffic.public_keys,
                kept_revocations=self.traffic.last_good_revocations,
            ),
            MlflowModelRegistry(self.registry),
        )


def stage_versions(traffic: Traffic | None) -> dict[str, int]:
    """Version of the champion by stage; a stage whose slot is empty, or holds another model, is left out."""
    if traffic is None:
        return {}
    return {
        stage: slot.champion.version
        for stage in MODEL_STAGES
        if (slot := traffic.slots.get(SLOTS[stage])) is not None and slot.champion.name == MODEL_NAMES[stage]
    }


@dataclass(frozen=True)
class _PromotedArtifacts:
    """Implements `ArtifactSource`: what was promoted, byte by byte."""

    versions: SignedVersions
    registry: MlflowModelRegistry

    def get(self, ref: ModelRef) -> ModelVersion:
        """Return what was signed when the version was promoted."""
        return self.versions.get(ref)

    def fetch(self, version: ModelVersion) -> Path:
        """Fetch from the cache, verified, or from the registry."""
        return self.registry.fetch(version)

    def keep_only(self, versions: Collection[ModelVersion]) -> None:
        """Let the files of all other versions be evicted from the cache."""
        self.registry.keep_only(versions)
