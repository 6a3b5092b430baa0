"""`streamrec recommendations serve`: the recommendation service on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.recommendations.contracts.placement import Placement
from streamrec.command_line.caller_options import BurstOption, InFlightOption, RequestsOption, limit_of
from streamrec.command_line.event_options import DEFAULT_RETENTION_DAYS, RetentionOption
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

if TYPE_CHECKING:
    from services.recommendations.serving.local_cluster import RunningService
    from streamrec.callers.settings import CallerSettings
    from streamrec.contracts.callers import CallerLimit


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
    gateways: Annotated[
        int,
        typer.Option(
            "--gateways",
            min=0,
            max=64,
            help="Gateways that answer. 0: together one a core, two at most; apart as many as the "
            "load asks for.",
        ),
    ] = 0,
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
    callers_file: Annotated[
        Path | None,
        typer.Option(
            "--callers",
            envvar="STREAMREC_CALLERS",
            dir_okay=False,
            help="Ask every caller for a token of this file ('streamrec callers'); else everybody may ask.",
        ),
    ] = None,
    requests_per_s: RequestsOption = None,
    burst: BurstOption = None,
    in_flight: InFlightOption = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait",
            help="Start without models, items or features too, and say at /readyz what is missing until it "
            "is there; else that is an error.",
        ),
    ] = False,
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
    callers = _caller_settings(place, callers_file, limit_of(requests_per_s, burst, in_flight))
    graph = workspace_graph(place, placement, gateways)
    graph = replace(graph, gateway=replace(graph.gateway, callers=callers))

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
            LocalServeSettings(host=host, port=port, graph=graph, wait_for_models=wait),
            workspace_models(place),
            gateway_parts(place),
            announce,
        )
    typer.echo("stopped")


def _caller_settings(place: Workspace, file: Path | None, limit: CallerLimit | None) -> CallerSettings:
    """Whom to let in, said aloud; a file that cannot be used is better found before anything is started."""
    from streamrec.callers.callers_file import CallersFile
    from streamrec.callers.settings import CallerSettings

    if file is None:
        if place.callers.exists():
            typer.echo(
                f"nobody is asked for a token: {place.callers} counts only with --callers {place.callers}",
                err=True,
            )
        return CallerSettings(anonymous_limit=limit)
    if limit is not None:
        raise typer.BadParameter(
            "the limits of callers stand in the callers file: streamrec callers limit",
            param_hint="--requests-per-s",
        )
    callers = CallersFile(file).read()
    typer.echo(f"every caller needs a token: {len(callers.callers)} in {file}")
    return CallerSettings(file=file.resolve())
