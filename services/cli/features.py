"""`streamrec features`: definitions and data of the feature store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

if TYPE_CHECKING:
    from rich.console import Group

    from streamrec.features.materialization import MaterializationReport

app = typer.Typer(help="Apply feature definitions and load the online store.", no_args_is_help=True)


@app.command("apply")
def apply(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Register the definitions of feature_repo; data that is there stays."""
    from streamrec.command_line.composition import feature_settings

    settings = feature_settings(Workspace(workspace))
    from streamrec.features import materialization  # after the settings: Feast takes seconds to load

    names = materialization.apply(settings)
    typer.echo(f"{len(names)} definitions applied: {', '.join(names)}")


@app.command("materialize")
def materialize(
    data: Annotated[Path, typer.Option("--data", help="Data folder in the neutral format.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Compute all features of the data and of the event log, and publish them offline and online.

    What was there is replaced in one step. Events that users sent since the data was written count.
    """
    from streamrec.command_line.composition import load_data_folder, materialize_features
    from streamrec.command_line.progress import shown_progress
    from streamrec.command_line.tables import stdout_console

    dataset = load_data_folder(data)
    console = stdout_console()
    with shown_progress(console) as progress:
        report = materialize_features(Workspace(workspace), dataset, None, progress)
    console.print(materialization_table(report))


def materialization_table(report: MaterializationReport) -> Group:
    """Build the table of what was published."""
    from streamrec.command_line.tables import table

    rows = [(f"{name}, offline", f"{count:,}") for name, count in report.offline_rows.items()]
    rows.append(("users, online", f"{report.online_users:,}"))
    newest = "-" if report.newest is None else report.newest.isoformat()
    return table(f"Features up to {newest}", ("table", "rows"), rows)
