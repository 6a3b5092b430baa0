"""`streamrec data import table`: anybody's table, by a map of its columns."""

from __future__ import annotations

import codecs
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.import_summary import JsonOption, import_summary

if TYPE_CHECKING:
    from rich.console import Console

    from streamrec.contracts.events import InteractionKind
    from streamrec.datasets.importers import TablePreview, TableSource
    from streamrec.datasets.importers.table_presets import TablePreset

_SHOWN_ROWS = 3
_SHOWN_CHARACTERS = 200
_CHECKED_ROWS = 1_000


def import_foreign_table(
    interactions: Annotated[
        Path,
        typer.Argument(
            help="CSV, TSV, JSON lines or Parquet (also a folder of parts), plain or compressed; not changed."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", help="Data folder to write; an earlier one is replaced.")
    ] = None,
    items: Annotated[Path | None, typer.Option("--items", help="Table of items; else those used.")] = None,
    users: Annotated[Path | None, typer.Option("--users", help="Table of users.")] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="FIELD=COLUMN,...: user_id, item_id, timestamp, items.item_id, title, ...; repeatable.",
        ),
    ] = None,
    kinds: Annotated[
        list[str] | None, typer.Option("--kind-map", help="FOREIGN=OURS: a word for an event; repeatable.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option("--delimiter", help="One character.")] = None,
    header: Annotated[
        str | None,
        typer.Option("--columns", help="NAME,NAME,...: the columns of interactions without a header."),
    ] = None,
    everything_at: Annotated[
        str | None, typer.Option("--time", help="ISO 8601: of every interaction, for a table without times.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset", help="Known columns: recbole, amazon, kaggle-movielens, lastfm, lastfm-360k."
        ),
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
    from streamrec.command_line.tables import stdout_console
    from streamrec.datasets import importers
    from streamrec.datasets.importers.report import import_result

    known = _preset(preset)
    names = known.form.columns
    if header is not None:
        names = tuple(name.strip() for name in header.split(","))
    form = importers.TableForm(_delimiter(delimiter) or known.form.delimiter, _encoding(encoding), names)
    source = importers.TableSource(
        interactions,
        items,
        users,
        _columns(columns or []),
        _kinds(kinds or []),
        known.topic_separator,
        form,
        known.columns,
        None if everything_at is None else _time(everything_at),
        known.user_columns,
    )
    console = stdout_console()
    if dry_run:
        _show(console, importers.preview(source, _SHOWN_ROWS))
        _show_unusable(console, source)
        return
    if output is None:
        raise typer.BadParameter("pass --output FOLDER, or --dry-run to look first")
    with shown_progress(console) as progress:
        report = importers.import_table(source, output, progress)
    console.print(import_summary(report))
    finish(import_result(report), json_file)


def _preset(name: str | None) -> TablePreset:
    from streamrec.datasets.importers.table_presets import PRESETS, TablePreset

    if name is None:
        return TablePreset()
    if name not in PRESETS:
        raise typer.BadParameter(f"--preset {name!r} is none of {', '.join(PRESETS)}")
    return PRESETS[name]


def _columns(texts: Sequence[str]) -> dict[str, str]:
    from streamrec.datasets.importers.table import FIELDS

    mapped = _pairs([pair for text in texts for pair in text.split(",") if pair.strip()], "--map")
    for field in mapped.keys() - FIELDS:
        raise typer.BadParameter(f"--map: {field!r} is no field; there are {', '.join(sorted(FIELDS))}")
    return mapped


def _kinds(texts: Sequence[str]) -> dict[str, InteractionKind]:
    from streamrec.contracts.events import interaction_kind

    words = {}
    for foreign, ours in _pairs(texts, "--kind-map").items():
        kind = interaction_kind(ours)
        if kind is None:
            raise typer.BadParameter(f"--kind-map {foreign}={ours}: {ours!r} is none of our kinds")
        words[foreign.strip().casefold().replace("-", "_").replace(" ", "_")] = kind
    return words


def _delimiter(text: str | None) -> str | None:
    text = "\t" if text == "\\t" else text  # as a shell passes it on
    if text is not None and (len(text) != 1 or not text.isascii()):
        raise typer.BadParameter(f"--delimiter {text!r} is not one ASCII character")
    return text


def _encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError as error:
        raise typer.BadParameter(f"--encoding {name!r} is unknown; latin-1 is one") from error


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"--time {text!r} is no ISO 8601 time, such as 2009-05-31") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        left, equals, right = (part.strip() for part in text.partition("="))
        if not (left and equals and right):
            raise typer.BadParameter(f"{option}: {text!r} is not NAME=NAME")
        if pairs.get(left, right) != right:
            raise typer.BadParameter(f"{option} names {left!r} twice: {pairs[left]!r} and {right!r}")
        pairs[left] = right
    return pairs


def _show(console: Console, previews: dict[str, TablePreview]) -> None:
    from streamrec.command_line.tables import table

    for name, preview in previews.items():
        heads = ("field", "read from column", *(f"row {number + 1}" for number in range(len(preview.rows))))
        rows = (
            (field, column or "-", *(_cell(row[field]) for row in preview.rows))
            for field, column in preview.chosen.items()
        )
        console.print(table(f"{name}: {preview.path}", heads, rows))
        if not preview.rows:
            console.print("There are no rows.")
        if preview.ignored:
            console.print(f"Not read: {', '.join(preview.ignored)}", markup=False)
    if "items" not in previews:
        console.print("Without --items the catalogue is every item of the interactions.")
    console.print("A time without an offset is taken as UTC. Nothing was written.")


def _show_unusable(console: Console, source: TableSource) -> None:
    """Import the first rows into a folder that is removed again, and show what could not be used of them."""
    import pyarrow.parquet as pq

    from streamrec.command_line.tables import table
    from streamrec.contracts.progress import SilentProgress
    from streamrec.datasets import importers
    from streamrec.datasets.quarantine import QUARANTINE_FILE

    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "sample"
        report = importers.import_table(source, output, SilentProgress(), most_rows=_CHECKED_ROWS)
        quarantined = pq.read_table(output / QUARANTINE_FILE).to_pylist()
    file = report.files[0]
    console.print(f"Of the first {file.rows_read:,} interactions {file.rows_kept:,} can be used.")
    first: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in quarantined:
        first.setdefault((row["source_file"], row["reason"], row["field"] or "-"), row)
    if first:
        heads = ("reason", "field", "file", "first such row", "as it stands")
        rows = (
            (reason.replace("_", " "), field, name, str(row["line"]), row["raw"][:_SHOWN_CHARACTERS])
            for (name, reason, field), row in first.items()
        )
        console.print(table("What could not be used", heads, rows))


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)[:_SHOWN_CHARACTERS]
