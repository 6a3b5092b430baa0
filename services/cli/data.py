"""`streamrec data`: bring data in."""

from __future__ import annotations

import codecs
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


@importing.command("table")
def import_foreign_table(
    interactions: Annotated[
        Path, typer.Argument(help="CSV, TSV, JSON lines or Parquet, plain or compressed; not changed.")
    ],
    output: OutputOption,
    items: Annotated[Path | None, typer.Option("--items", help="Table of items; else those used.")] = None,
    users: Annotated[Path | None, typer.Option("--users", help="Table of users.")] = None,
    columns: Annotated[
        str,
        typer.Option(
            "--map", help="FIELD=COLUMN,...: user_id, item_id, timestamp, items.item_id, title, ..."
        ),
    ] = "",
    kinds: Annotated[
        list[str] | None, typer.Option("--kind-map", help="FOREIGN=OURS: a word for an event; repeatable.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option("--delimiter", help="One character.")] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="Known columns: recbole, amazon, kaggle-movielens, lastfm.")
    ] = None,
    encoding: Annotated[str, typer.Option("--encoding", help="Of text files.")] = "utf-8",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is understood of the first rows; write nothing.")
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """Import anybody's table: say which column is what; every row is checked."""
    from streamrec.command_line.progress import shown_progress
    from streamrec.command_line.results import finish
    from streamrec.command_line.tables import stdout_console, table
    from streamrec.contracts.events import interaction_kind
    from streamrec.datasets import importers
    from streamrec.datasets.importers.report import import_result
    from streamrec.datasets.importers.table import FIELDS
    from streamrec.datasets.importers.table_presets import PRESETS, TablePreset

    mapped = _pairs([pair for pair in columns.split(",") if pair], "--map")
    for field in mapped.keys() - FIELDS:
        raise typer.BadParameter(f"{field!r} is no field; there are {', '.join(sorted(FIELDS))}")
    words = {}
    for foreign, ours in _pairs(kinds or [], "--kind-map").items():
        kind = interaction_kind(ours)
        if kind is None:
            raise typer.BadParameter(f"--kind-map {foreign}={ours}: {ours!r} is none of our kinds")
        words[foreign.strip().casefold().replace("-", "_").replace(" ", "_")] = kind
    if preset is not None and preset not in PRESETS:
        raise typer.BadParameter(f"--preset {preset!r} is none of {', '.join(PRESETS)}")
    if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii()):
        raise typer.BadParameter(f"--delimiter {delimiter!r} is not one ASCII character")
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise typer.BadParameter(f"--encoding {encoding!r} is unknown; latin-1 is one") from error
    known = PRESETS[preset] if preset else TablePreset()
    form = importers.TableForm(delimiter or known.form.delimiter, encoding, known.form.columns)
    source = importers.TableSource(
        interactions, items, users, mapped, words, known.topic_separator, form, known.columns
    )
    console = stdout_console()
    if dry_run:
        for name, rows in importers.first_rows(source, 5).items():
            names = tuple(rows[0]) if rows else ("no rows",)
            console.print(table(name, names, (tuple(map(str, row.values())) for row in rows)))
        return
    with shown_progress(console) as progress:
        report = importers.import_table(source, output, progress)
    console.print(import_table(report))
    finish(import_result(report), json_file)


def _pairs(texts: list[str], option: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        left, equals, right = text.partition("=")
        if not (left.strip() and equals and right.strip()):
            raise typer.BadParameter(f"{option}: {text!r} is not NAME=NAME")
        pairs[left.strip()] = right.strip()
    return pairs


def import_table(report: ImportReport) -> Group:
    """Build the table of what an import read, kept, quarantined and repaired."""
    from streamrec.command_line.tables import table

    def reasons(counts: dict[str, int]) -> str:
        return ", ".join(f"{reason}: {rows:,}" for reason, rows in counts.items()) or "-"

    return table(
        f"Imported into {report.output}: {report.users:,} users, {report.items:,} items, "
        f"{report.interactions:,} interactions",
        ("file", "rows read", "kept", "quarantined", "reasons", "repaired attributes"),
        (
            (
                file.file,
                f"{file.rows_read:,}",
                f"{file.rows_kept:,}",
                f"{sum(file.quarantined.values()):,}",
                reasons(dict(file.quarantined)),
                reasons(
                    {
                        f"{attribute} {reason}": rows
                        for attribute, causes in file.repaired.items()
                        for reason, rows in causes.items()
                    }
                ),
            )
            for file in report.files
        ),
    )
