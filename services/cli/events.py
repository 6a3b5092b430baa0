"""`streamrec events`: what is in the event log, and its housekeeping."""

from __future__ import annotations

import typer

from streamrec.command_line.event_options import (
    DEFAULT_RETENTION_DAYS,
    RetentionOption,
    SinceOption,
    UntilOption,
    time_range,
)
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

app = typer.Typer(help="The event log: count it, compact it.", no_args_is_help=True)


@app.command("count")
def count(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE, since: SinceOption = None, until: UntilOption = None
) -> None:
    """Count predictions, impressions, exposures, outcomes, labels and quarantined events, every one once."""
    from streamrec.command_line.composition import count_events
    from streamrec.command_line.tables import stdout_console, table

    place = Workspace(workspace)
    counted = count_events(place, time_range(since, until))
    rows = [(kind, f"{number:,}") for kind, number in counted.items()]
    stdout_console().print(table(f"Events in {place.events}", ("kind", "count"), rows))


@app.command("compact")
def compact(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE, retention_days: RetentionOption = DEFAULT_RETENTION_DAYS
) -> None:
    """Turn finished segments into Parquet, merge a day's files, remove what has expired.

    The service does the same by itself. Safe while it runs, and at any time.
    """
    from streamrec.command_line.composition import compaction_settings
    from streamrec.command_line.tables import stdout_console, table
    from streamrec.events.compaction import compact

    place = Workspace(workspace)
    report = compact(place.events, compaction_settings(place, retention_days))
    stdout_console().print(
        table(
            f"Compacted {place.events}",
            ("what", "count"),
            (
                ("segments turned into Parquet", f"{report.segments:,}"),
                ("of them left open by a writer that died", f"{report.recovered_segments:,}"),
                ("records", f"{report.records:,}"),
                ("unreadable lines, kept as quarantined", f"{report.corrupt_lines:,}"),
                ("Parquet files merged into larger ones", f"{report.merged_parts:,}"),
                ("records of erased persons, removed", f"{report.erased_records:,}"),
                ("expired records, removed", f"{report.expired_records:,}"),
            ),
        )
    )
