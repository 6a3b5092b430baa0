"""`streamrec keys`: the keys that sign published documents, and those whose signatures count."""

from __future__ import annotations

from typing import Annotated

import typer

from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

app = typer.Typer(
    help="The keys that sign published documents: list, rotate, revoke.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_keys(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """List every key: the one that signs, those that are trusted besides, those that were revoked."""
    from streamrec.command_line.tables import stdout_console, table
    from streamrec.documents.key_folder import KeyFolder

    place = Workspace(workspace)
    keys = KeyFolder(place.keys)
    signing, trusted = keys.signing_key_id(), keys.trusted()
    states = dict.fromkeys(trusted.keys, "trusted")
    states |= dict.fromkeys(trusted.revoked, "revoked")
    if signing is not None:
        # One that signs and is not trusted was taken out of the folder by hand: its documents are refused.
        states[signing] = "signs" if states.get(signing) == "trusted" else "signs, but is not trusted"
    if not states:
        typer.echo(f"no keys in {place.keys}; the first publication of a document makes one")
        return
    stdout_console().print(table(f"Keys in {place.keys}", ("key", "state"), sorted(states.items())))


@app.command("rotate")
def rotate(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Make a new signing key. The old one stays trusted until it is revoked."""
    from streamrec.documents.key_folder import KeyFolder

    keys = KeyFolder(Workspace(workspace).keys)
    before = keys.signing_key_id()
    typer.echo(f"{keys.rotate().key_id} signs from now on")
    if before is not None:
        typer.echo(
            f"{before} stays trusted; once every document is published anew it can be revoked: "
            f"streamrec keys revoke {before}"
        )


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="As 'streamrec keys list' shows it.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Refuse every document that KEY signed, before or after now. It cannot be undone."""
    from streamrec.documents.key_folder import KeyFolder

    if KeyFolder(Workspace(workspace).keys).revoke(key_id):
        typer.echo(
            f"{key_id} is revoked: what it signed is refused from now on, also where it is in force; "
            "publish those documents anew"
        )
    else:
        typer.echo(f"{key_id} was revoked before")
