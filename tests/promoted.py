"""Versions that serve, for tests: promoted as `streamrec models promote` does it."""

from __future__ import annotations

from pathlib import Path

from streamrec.contracts.models import ModelRef
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
