"""`streamrec recommendations serve`: the recommendation service on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from services.recommendations.contracts.placement import Placement
from streamrec.command_line.event_options import DEFAULT_RETENTION_DAYS, RetentionOption
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

if TYPE_CHECKING:
    from services.recommendations.serving.local_cluster import RunningService


def serve(
    host: Annotated[
        str,
        typer.Option("--host", help="Address to listen on; anything but loopback is open to the network."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65_535, help="Port to listen on.")] = 8000,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    placement: Annotated[
        Placement,
        typer.Option(
            "--placement",
            help="Stages in the gateway's process (together: the fastest on one machine), or each as a "
            "deployment of its own that scales by itself (apart).",
        ),
    ] = Placement.TOGETHER,
    retention_days: RetentionOption = DEFAULT_RETENTION_DAYS,
    compaction_interval_s: Annotated[
        float,
        typer.Option(
            "--compaction-interval-s",
            min=1.0,
            max=86_400.0,
            help="Seconds between two compactions of the log.",
        ),
    ] = 300.0,
) -> None:
    """Serve the champions of WORKSPACE over HTTP until Ctrl-C; compact its event log meanwhile."""
    from services.recommendations.serving.local_cluster import LocalServeSettings, serve_forever
    from services.recommendations.serving.workspace_service import (
        gateway_parts,
        workspace_graph,
        workspace_models,
    )
    from streamrec.command_line.composition import compaction_settings
    from streamrec.events.background_compaction import BackgroundCompaction

    place = Workspace(workspace.resolve())  # replicas run in a folder of their own

    def announce(service: RunningService) -> None:
        versions = ", ".join(f"{stage} {version}" for stage, version in service.model_versions.items())
        typer.echo(
            f"ready after {service.startup_s:.1f} s on {service.url}: "
            f"{service.catalogue_items:,} items, {versions}"
        )
        typer.echo(f"  API page  {service.url}/docs\n  metrics   {service.url}/metrics\n  stop with Ctrl-C")

    typer.echo(f"starting the service on http://{host}:{port}")
    with BackgroundCompaction(
        place.events, lambda: compaction_settings(place, retention_days), interval_s=compaction_interval_s
    ):
        serve_forever(
            LocalServeSettings(host=host, port=port, graph=workspace_graph(place, placement)),
            workspace_models(place),
            gateway_parts(place),
            announce,
        )
    typer.echo("stopped")
