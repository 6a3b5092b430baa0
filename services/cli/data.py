"""`streamrec data`: bring data in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.erase import erase
from services.cli.import_summary import JsonOption, OutputOption, import_summary
from services.cli.import_table import import_foreign_table

app = typer.Typer(help="Import data into the neutral format; erase a person.", no_args_is_help=True)
importing = typer.Typer(
    help="Import a folder; rows that cannot be used are quarantined with their reason and counted.",
    no_args_is_help=True,
)
app.add_typer(importing, name="import")
app.command("erase")(erase)

SourceArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to read; it is not changed.")]


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
    console.print(import_summary(report))
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
    console.print(import_summary(report))
    finish(import_result(report), json_file)


importing.command("table")(import_foreign_table)
