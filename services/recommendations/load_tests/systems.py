"""What is compared, and the program that runs one of them until it is told to stop.

    python -m services.recommendations.load_tests.systems SYSTEM WORKSPACE PORT WORLD GATEWAYS

WORLD is `WorldSettings` as JSON; ``STREAMREC_ONLINE_STORE`` names the Redis that holds the workspace's rows.
GATEWAYS is how many gateways answer, in whatever has any; 0: as the service has it. The end of the input is
the end of whoever measures: the system then stops by itself.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from services.recommendations.contracts.placement import Placement
from services.recommendations.load_tests.made_world import MadeWorld
from services.recommendations.load_tests.world_settings import WorldSettings
from services.recommendations.serving.empty.graph import build_empty_graph, build_empty_hop
from services.recommendations.serving.local_cluster import LocalServeSettings, serve_forever
from services.recommendations.serving.workspace_service import (
    gateway_parts,
    workspace_graph,
    workspace_models,
)
from streamrec.command_line.workspace import Workspace

READY_TIMEOUT_S: Final = 600.0
"""Millions of items take minutes to be checked and loaded."""


class System(StrEnum):
    """One way to answer the same requests."""

    TOGETHER = "streamrec_together"
    """The service, its stages in the gateway's process."""
    APART = "streamrec_apart"
    """The service, each stage a deployment of its own."""
    MONOLITH = "monolith"
    """The same models in one FastAPI process without Ray (`monolith`)."""
    RAY_DEFAULTS = "ray_defaults"
    """The service with its stages apart, behind Ray Serve's own proxy and with its default settings."""
    EMPTY_GRAPH = "empty_graph"
    """Gateway and stages apart, the same hops and messages, no models: what Ray costs."""
    EMPTY_HOP = "empty_hop"
    """A gateway that makes one call of one empty deployment."""


def run(system: System, workspace: Workspace, port: int, world: WorldSettings, gateways: int) -> None:
    """Serve until SIGINT or SIGTERM. For the main thread of a process of its own."""
    if system is System.MONOLITH:
        from services.recommendations.load_tests.monolith import serve_monolith

        serve_monolith(workspace, port)
        return
    serve_forever(
        settings_of(system, workspace, port, world, gateways),
        workspace_models(workspace),
        gateway_parts(workspace),
        lambda _service: None,
    )


def settings_of(
    system: System, workspace: Workspace, port: int, world: WorldSettings, gateways: int
) -> LocalServeSettings:
    """How a system on Ray is served; see the module for the arguments."""
    placement = Placement.TOGETHER if system is System.TOGETHER else Placement.APART
    graph = workspace_graph(workspace, placement, gateways)
    settings = LocalServeSettings(port=port, graph=graph, ready_timeout_s=READY_TIMEOUT_S)
    if system is System.RAY_DEFAULTS:
        return replace(settings, haproxy=False)
    if system is System.EMPTY_HOP:
        return replace(settings, build=build_empty_hop)
    if system is System.EMPTY_GRAPH:
        offsets, _ = MadeWorld.of(world).histories()
        lengths = tuple(np.diff(offsets).tolist())
        return replace(settings, build=partial(build_empty_graph, history_lengths=lengths))
    return settings


def _stop_at_end_of_input() -> None:
    # Not by way of `sys.stdin`: its lock, held by a thread that waits, ends the interpreter with an abort.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Run what the arguments say."""
    system, folder, port, world, gateways = sys.argv[1:]
    settings = WorldSettings(**json.loads(world))
    threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    run(System(system), Workspace(Path(folder)), int(port), settings, int(gateways))


if __name__ == "__main__":
    main()
