"""`streamrec items`: publish items, remove them, look at the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

if TYPE_CHECKING:
    from streamrec.contracts.items import Item, ItemChange
    from streamrec.contracts.results import Result
    from streamrec.items.item_files import RefusedRow

_SCHEMA: Final = "streamrec.item_log_append.v1"

app = typer.Typer(
    help="The catalogue: publish items, describe them anew, remove them, list them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

JsonOption = Annotated[
    Path | None, typer.Option("--json", dir_okay=False, help="Write what was put and refused here.")
]


@app.command("put")
def put(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            dir_okay=False,
            help="Items as JSON lines (.jsonl) or CSV (.csv), fields as in docs/schemas/item_change.json.",
        ),
    ] = None,
    item_id: Annotated[str | None, typer.Option("--id", help="Put one item instead of a file.")] = None,
    title: Annotated[str, typer.Option("--title", help="Its title.")] = "",
    creator_id: Annotated[str | None, typer.Option("--creator", help="Who made it.")] = None,
    language: Annotated[str | None, typer.Option("--language", help="In which language.")] = None,
    topics: Annotated[
        list[str] | None, typer.Option("--topic", help="What it is about; may be given several times.")
    ] = None,
    published_at: Annotated[
        str | None, typer.Option("--published-at", help="When: ISO 8601 with an offset or Z.")
    ] = None,
    json_file: JsonOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Publish items, or describe them anew. A running service follows within a second.

    Of a file all items are put or, where a row is none, nothing is.
    """
    from streamrec.contracts.errors import InvalidInputError
    from streamrec.contracts.items import Item
    from streamrec.items.item_files import read_items

    if (file is None) == (item_id is None):
        raise InvalidInputError("FILE", "name a file of items, or one item with --id")
    if file is not None:
        read = read_items(file)
        _append(Workspace(workspace), read.items, read.refused, json_file)
        return
    given = {
        "item_id": item_id,
        "title": title,
        "creator_id": creator_id,
        "creator_language": language,
        "topics": topics or [],
        "published_at": published_at,
    }
    item = Item.from_json({name: value for name, value in given.items() if value is not None})
    _append(Workspace(workspace), [item], (), json_file)


@app.command("remove")
def remove(
    item_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Items, by id.")],
    json_file: JsonOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Take items out of the catalogue. A running service follows within a second.

    What users did with them stays in the event log. An item comes back when it is put again.
    """
    from streamrec.command_line.composition import read_catalogue
    from streamrec.contracts.errors import NotFoundError

    place = Workspace(workspace)
    known = read_catalogue(place).row_of
    for item_id in item_ids:
        if item_id not in known:
            raise NotFoundError(f"there is no item {item_id!r} in the catalogue; nothing was removed")
    _append(place, item_ids, (), json_file)


@app.command("list")
def list_items(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 20,
    search: Annotated[str, typer.Option("--search", help="Only titles and ids that hold this text.")] = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """List the items of the catalogue, imported and put, by id."""
    from streamrec.command_line.composition import read_catalogue
    from streamrec.command_line.tables import stdout_console, table
    from streamrec.items.follower import read_state

    place = Workspace(workspace)
    catalogue, state = read_catalogue(place), read_state(place.items)
    wanted = search.casefold()
    found = [
        row
        for row, (item_id, title) in enumerate(zip(catalogue.item_ids, catalogue.titles, strict=True))
        if wanted in item_id.casefold() or wanted in title.casefold()
    ]

    def origin(item_id: str) -> str:
        change = state.changes.get(item_id)
        return "imported" if change is None else f"put, revision {change.revision:,}"

    title = f"{len(found):,} of {len(catalogue):,} items; the item log is at revision {state.revision:,}"
    rows = (
        (
            catalogue.item_ids[row],
            catalogue.titles[row],
            catalogue.creator_languages[row],
            origin(catalogue.item_ids[row]),
        )
        for row in found[:limit]
    )
    stdout_console().print(table(title, ("item", "title", "language", "from"), rows))
    if len(found) > limit:
        typer.echo(f"{len(found) - limit:,} more; --limit shows more, --search looks for one")


@app.command("show")
def show(
    item_id: Annotated[str, typer.Argument(metavar="ID", help="Which item.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Show all that is known of an item, and what the item log says of it."""
    from streamrec.command_line.composition import read_catalogue
    from streamrec.command_line.tables import stdout_console, table
    from streamrec.contracts.errors import NotFoundError
    from streamrec.items.follower import read_state

    place = Workspace(workspace)
    catalogue, change = read_catalogue(place), read_state(place.items).changes.get(item_id)
    row = catalogue.row_of.get(item_id)
    if row is None:
        since = f"; it was removed at {change.at.isoformat()}" if change is not None else ""
        raise NotFoundError(f"there is no item {item_id!r} in the catalogue{since}")
    published_at = catalogue.published_at[row]
    rows = (
        ("title", catalogue.titles[row]),
        ("creator", catalogue.creator_ids[row]),
        ("language", catalogue.creator_languages[row]),
        ("topics", ", ".join(catalogue.topics[row]) or "-"),
        ("published", "-" if str(published_at) == "NaT" else f"{published_at}Z"),
        ("from", "the import" if change is None else f"the item log, revision {change.revision:,}"),
        ("changed", "-" if change is None else change.at.isoformat()),
    )
    stdout_console().print(table(f"Item {item_id}", ("field", "value"), rows))


def _append(
    place: Workspace,
    changes: Sequence[Item | str],
    refused: Sequence[RefusedRow],
    json_file: Path | None,
) -> None:
    """Write the changes where none was refused, and end as a result does."""
    from streamrec.command_line.results import finish
    from streamrec.items.item_log import FileItemLog

    entries: tuple[ItemChange, ...] = ()
    if not refused:
        entries = FileItemLog(place.items).append(changes)
        if entries:
            typer.echo(
                f"{len(entries):,} {'entry' if len(entries) == 1 else 'entries'} in the item log, "
                f"now at revision {entries[-1].revision:,}"
            )
    finish(_result(entries, refused), json_file)


def _result(entries: Sequence[ItemChange], refused: Sequence[RefusedRow]) -> Result:
    from streamrec.contracts.results import MAXIMUM_REASONS, Reason, Result, Verdict

    reasons: list[Reason] = [
        Reason("row_refused", f"line {row.line}.{row.field}"[:1_000], _sentence(row))
        for row in refused[: MAXIMUM_REASONS - 1]
    ]
    if refused:
        reasons.insert(
            0, Reason("nothing_put", "", f"nothing was put; rows that are no items: {len(refused):,}")
        )
    elif not entries:
        reasons.append(Reason("no_items", "", "the file holds no item; nothing was put"))
    return Result(
        _SCHEMA,
        Verdict.PASSED if entries else Verdict.FAILED,
        tuple(reasons),
        {
            "entries": len(entries),
            "revision": entries[-1].revision if entries else None,
            "refused": len(refused),
        },
    )


def _sentence(row: RefusedRow) -> str:
    return f"line {row.line}: {row.field} {row.problem}"[:1_000]
