"""`streamrec data erase`: remove a person from everything that a workspace keeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

if TYPE_CHECKING:
    from rich.console import Group

    from streamrec.contracts.results import Result


def erase(
    user: Annotated[str, typer.Option("--user", metavar="ID", help="Whom to erase.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            exists=True,
            file_okay=False,
            help="A data folder outside the workspace too; repeatable.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing: look for the person and say what is there.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write what was removed and found here.")
    ] = None,
) -> None:
    """Remove a person from events, features, caches and training data, and keep them out.

    A running service follows within seconds. Removed means also: looked for again everywhere, by this call
    and by every later one. Versions that were trained before hold no ids; train again to forget the rest.
    """
    from streamrec.command_line.composition import erasure_files, personal_data
    from streamrec.command_line.results import finish
    from streamrec.command_line.tables import stdout_console
    from streamrec.contracts.errors import InvalidInputError
    from streamrec.erasure import erase as erasure
    from streamrec.erasure.erased_persons import digest_on_list, record_erasure

    if not user:
        raise InvalidInputError("--user", "must not be empty")
    place = Workspace(workspace)
    if not place.root.is_dir():
        raise InvalidInputError("--workspace", f"{place.root} does not exist")
    files, stores = erasure_files(place), personal_data(place, data or ())
    if check:
        result = erasure.check(user, stores, lambda person: digest_on_list(files, person))
    else:
        result = erasure.erase(user, stores, lambda person: record_erasure(files, person))
    stdout_console().print(erasure_table(result))
    finish(result, json_file)


def erasure_table(result: Result) -> Group:
    """Build the table of what went and what is left, by store."""
    from streamrec.command_line.tables import table

    rows = [
        (store["name"], f"{store['removed']:,}", f"{store['left']:,}") for store in result.content["stores"]
    ]
    return table(f"Person {result.content['person'] or 'not erased'}", ("store", "removed", "left"), rows)
