"""`streamrec metrics`: what the business metrics are, and their figures out of the event log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

app = typer.Typer(help="Business metrics: list them, compute them from the event log.", no_args_is_help=True)


@app.command("list")
def list_metrics(
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write the definitions here.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """List the platform's metrics and the workspace's own, and what they can be split by."""
    from streamrec.command_line.files import write_json
    from streamrec.command_line.tables import stdout_console, table
    from streamrec.contracts.json_documents import document_json
    from streamrec.metrics.catalogue import load_catalogue

    catalogue = load_catalogue(Workspace(workspace).metrics)
    console = stdout_console()
    rows = [
        (
            metric.name,
            metric.definition.owner,
            metric.definition.aggregation.value,
            metric.definition.unit,
            metric.definition.direction.value.split("_")[0],
            f"{metric.definition.minimum_sample:,}",
        )
        for metric in catalogue
    ]
    console.print(table("Metrics", ("name", "owner", "aggregation", "unit", "good", "units needed"), rows))
    splits = [
        (name, dimension.field, f"{dimension.maximum_values or len(dimension.values):,}")
        for name, dimension in catalogue.dimensions.items()
    ]
    console.print(table("What they can be split by", ("name", "field", "values at most"), splits))
    if json_file is not None:
        metrics = {metric.name: document_json(metric.definition) for metric in catalogue}
        dimensions = {name: document_json(value) for name, value in catalogue.dimensions.items()}
        write_json(json_file, {"metrics": metrics, "dimensions": dimensions})
        console.print(f"Definitions in {json_file}", markup=False, highlight=False, soft_wrap=True)
