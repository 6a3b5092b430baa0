"""`streamrec data`: bring data in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.erase import erase

if TYPE_CHECKING:
    from rich.console import Group

    from streamrec.datasets.importers import ImportReport

app = typer.Typer(help="Import data into the neutral format; erase a person.", no_args_is_help=True)
importing = typer.Typer(
    help="Import a folder; rows that cannot be used are quarantined with their reason and counted.",
    no_args_is_help=True,
)
app.add_typer(importing, name="import")
app.command("erase")(erase)

SourceArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to read; it is not changed.")]
OutputOption = Annotated[
    Path, typer.Option("--output", help="Data folder to write; an earlier one is replaced.")
]
JsonOption = Annotated[
    Path | None,
    typer.Option("--json", dir_okay=False, help="Write what was read, kept and quarantined here."),
]


@importing.command("movielens")
def import_movielens(
    source: SourceArgument,
    output: OutputOption,
    json_file: JsonOption = None,
    highest_rating: Annotated[
        float,
        typer.Option(
            "--highest-rating", min=1.0, max=1_000.0, help="Of the scale; for sets that rate to 10, 10."
        ),
    ] = 5.0,
) -> None:
    """Import a MovieLens folder (ratings.csv and movies.csv or items.csv, or the .dat files of 1M)."""
    from streamrec.command_line.progress import shown_progress
    from streamrec.command_line.results import finish
    from streamrec.command_line.tables import stdout_console
    from streamrec.datasets import importers
    from streamrec.datasets.importers.report import import_result

    console = stdout_console()
    with shown_progress(console) as progress:
        report = importers.import_movielens(source, output, progress, highest_rating=highest_rating)
    console.print(import_table(report))
    finish(import_result(report), json_file)


@importing.command("neutral")
def import_neutral(source: SourceArgument, output: OutputOption, json_file: JsonOption = None) -> None:
    """Import a folder in the neutral format: check every row, keep the good ones."""
    from streamrec.command_line.progress import shown_progress
    from streamrec.command_line.results import finish
    from streamrec.command_line.tables import stdout_console
    from streamrec.datasets import importers
    from streamrec.datasets.importers.report import import_result

    console = stdout_console()
    with shown_progress(console) as progress:
        report = importers.import_neutral(source, output, progress)
    console.print(import_table(report))
    finish(import_result(report), json_file)


def import_table(report: ImportReport) -> Group:
    """Build the table of what an import read, kept and quarantined."""
    from streamrec.command_line.tables import table

    def reasons(quarantined: dict[str, int]) -> str:
        return ", ".join(f"{reason}: {rows:,}" for reason, rows in quarantined.items()) or "-"

    return table(
        f"Imported into {report.output}: {report.users:,} users, {report.items:,} items, "
        f"{report.interactions:,} interactions",
        ("file", "rows read", "kept", "quarantined", "reasons"),
        (
            (
                file.file,
                f"{file.rows_read:,}",
                f"{file.rows_kept:,}",
                f"{sum(file.quarantined.values()):,}",
                reasons(dict(file.quarantined)),
            )
            for file in report.files
        ),
    )
