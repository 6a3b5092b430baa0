"""`streamrec metrics`: what the business metrics are, and their figures out of the event log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamrec.command_line.event_options import moment
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

app = typer.Typer(help="Business metrics: list them, compute them from the event log.", no_args_is_help=True)


@app.command("list")
def list_metrics(
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write the definitions here.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """List the metrics of the platform, the spokes and the workspace, and what they can be split by."""
    from streamrec.command_line.files import write_json
    from streamrec.command_line.metric_parts import metric_catalogue
    from streamrec.command_line.tables import stdout_console, table
    from streamrec.contracts.json_documents import document_json

    catalogue = metric_catalogue(Workspace(workspace))
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


@app.command("compute")
def compute_metric(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As 'streamrec metrics list' shows it.")],
    start: Annotated[
        str, typer.Option("--from", help="Answers from this time on: ISO 8601, UTC where it has no zone.")
    ],
    end: Annotated[str, typer.Option("--to", help="Answers before this time.")],
    by: Annotated[
        str, typer.Option("--by", help="Split by these, joined by commas, for example slot,version,role.")
    ] = "",
    level: Annotated[
        float, typer.Option("--level", min=0.5, max=0.9999, help="Confidence of the intervals.")
    ] = 0.95,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write the figures here.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Compute a metric from the event log, with intervals over users; finished days are computed once.

    Ends with 4 where a figure rests on fewer users than the metric needs.
    """
    from datetime import UTC, datetime

    from streamrec.command_line.metric_parts import metric_catalogue, metric_sources
    from streamrec.command_line.progress import shown_progress
    from streamrec.command_line.results import finish
    from streamrec.command_line.tables import interval_text, stdout_console, table
    from streamrec.metrics.computation import compute, result_of

    place = Workspace(workspace)
    catalogue = metric_catalogue(place)
    metric = catalogue.metric(name)
    console = stdout_console()
    with shown_progress(console) as progress:
        figures = compute(
            metric,
            catalogue,
            metric_sources(place),
            start=moment("--from", start),
            end=moment("--to", end),
            now=datetime.now(UTC),
            progress=progress,
            by=tuple(part.strip() for part in by.split(",")) if by else (),
            level=level,
        )
    result = result_of(figures)
    rows = [
        (
            *(figure.cell or (name,)),
            interval_text(None if figure.estimate is None else figure.estimate.to_json()),
            f"{figure.statistics.moments.units:,}",
            f"{figure.statistics.cases:,}",
        )
        for figure in figures.figures
    ]
    columns = (*(figures.by or ("metric",)), metric.definition.unit, "units", "cases")
    console.print(table(metric.definition.description, columns, rows))
    finish(result, json_file)
