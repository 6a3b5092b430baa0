"""`streamrec events`: what is in the event log, and its housekeeping."""

from __future__ import annotations

import typer

from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

app = typer.Typer(help="The event log: count it, compact it.", no_args_is_help=True)


@app.command("count")
def count(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Count predictions, impressions, exposures, outcomes, labels and quarantined events, every one once."""
    from streamrec.command_line.composition import count_events
    from streamrec.command_line.tables import stdout_console, table

    place = Workspace(workspace)
    rows = [(kind, f"{number:,}") for kind, number in count_events(place).items()]
    stdout_console().print(table(f"Events in {place.events}", ("kind", "count"), rows))


@app.command("compact")
def compact(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Turn finished segments of the log into Parquet; safe while the service runs."""
    from streamrec.command_line.tables import stdout_console, table
    from streamrec.events.compaction import compact

    place = Workspace(workspace)
    report = compact(place.events)
    stdout_console().print(
        table(
            f"Compacted {place.events}",
            ("what", "count"),
            (
                ("segments turned into Parquet", f"{report.segments:,}"),
                ("of them left open by a writer that died", f"{report.recovered_segments:,}"),
                ("records", f"{report.records:,}"),
                ("unreadable lines, kept as quarantined", f"{report.corrupt_lines:,}"),
            ),
        )
    )
