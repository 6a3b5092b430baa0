"""Versions that serve, for tests: promoted as `streamrec models promote` does it."""

from __future__ import annotations

import shutil
from pathlib import Path

from services.recommendations.contracts.stages import MODEL_NAMES
from streamrec.contracts.models import ModelRef, ModelSpec
from streamrec.registry.model_registry import ModelRegistry
from streamrec.rollout.traffic_files import TrafficFiles
from streamrec.rollout.traffic_writer import TrafficChanged, TrafficWriter


def traffic_files(folder: Path) -> TrafficFiles:
    """Of a workspace in ``folder``."""
    return TrafficFiles(folder / "traffic", folder / "keys" / "public")


def promote(
    folder: Path, registry: ModelRegistry, *refs: ModelRef, slot: str | None = None
) -> TrafficChanged:
    """Make versions the champions of their slots in the workspace ``folder``."""
    return TrafficWriter(traffic_files(folder), folder / "keys", registry).promote(
        refs, actor="test", slot=slot
    )


def register_again(source: ModelRegistry, target: ModelRegistry, stage: str, folder: Path) -> ModelRef:
    """Register the files of a stage's first version in another registry, by way of ``folder``."""
    version = source.get(ModelRef(MODEL_NAMES[stage], 1))
    ignored = shutil.ignore_patterns("manifest.json", "MLmodel")
    shutil.copytree(source.fetch(version), folder / stage, ignore=ignored)
    spec = ModelSpec(
        name=version.ref.name,
        signature=version.signature,
        data_fingerprint=version.data_fingerprint,
        settings_fingerprint=version.settings_fingerprint,
        depends_on=version.depends_on,
        slot=version.slot,
    )
    return target.register(spec, folder / stage).ref
