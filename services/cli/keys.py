"""`streamrec keys`: the keys that sign published documents, and those whose signatures count."""

from __future__ import annotations

from typing import Annotated

import typer

from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

app = typer.Typer(
    help="The keys that sign published documents: list, rotate, sign-again, revoke.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the ledger.")]


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
def rotate(reason: ReasonOption = "", workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Make a new signing key. The old one stays trusted until it is revoked."""
    from streamrec.command_line.composition import open_ledger
    from streamrec.command_line.decisions.desk import actor_for
    from streamrec.contracts.ledger_entry import EntryKind
    from streamrec.documents.key_folder import KeyFolder

    place = Workspace(workspace)
    by = actor_for(place, "keys rotate", reason)
    ledger = open_ledger(place)
    keys = KeyFolder(place.keys)
    before = keys.signing_key_id()
    key = keys.rotate()
    typer.echo(f"{key.key_id} signs from now on")
    ledger.append(by.decides(EntryKind.KEY_ADDED, key.key_id, {"before": before}))
    if before is not None:
        typer.echo(
            f"{before} stays trusted; next: streamrec keys sign-again, and once every other document is "
            f"published anew: streamrec keys revoke {before}"
        )


@app.command("sign-again")
def sign_again(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Sign verdicts, versions and traffic with the key that signs now; of verdicts what the ledger says."""
    from streamrec.command_line.composition import open_traffic_writer
    from streamrec.command_line.decisions.desk import actor_for, open_desk
    from streamrec.governance import signatures

    place = Workspace(workspace)
    actor_for(place, "keys sign-again", "")
    done = signatures.sign_again(open_desk(place))
    typer.echo(f"verdicts signed again: {len(done.signed)}")
    for ref in done.left:
        typer.echo(
            f"the verdict over {ref} is not what the ledger says and was left as it is: replicas refuse it "
            f"once its key is revoked; a new one: streamrec models deploy {ref} --reason ...",
            err=True,
        )
    revision = open_traffic_writer(place).sign_again()
    if revision is not None:
        typer.echo(f"the traffic document is signed too: revision {revision}, which says what served before")


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="As 'streamrec keys list' shows it.")],
    reason: ReasonOption = "",
    stop_serving: Annotated[
        bool, typer.Option("--stop-serving", help="Also where what serves is signed by KEY, and would stop.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Refuse every document that KEY signed, before or after now. It cannot be undone."""
    from streamrec.command_line.composition import open_ledger
    from streamrec.command_line.decisions.desk import actor_for
    from streamrec.command_line.decisions.keys_in_use import serving_documents_of
    from streamrec.contracts.errors import InvalidInputError
    from streamrec.contracts.ledger_entry import EntryKind
    from streamrec.documents.key_folder import KeyFolder

    place = Workspace(workspace)
    by = actor_for(place, "keys revoke", reason)
    served_by = () if stop_serving else serving_documents_of(place, key_id)
    if served_by:
        raise InvalidInputError(
            "key_id",
            f"{key_id} signed what serves now ({served_by[0]} and {len(served_by) - 1} more), which would "
            "stop: 'streamrec keys sign-again' first, or --stop-serving",
        )
    ledger = open_ledger(place)
    # The ledger comes second here: what was stolen is refused also where the ledger cannot be written.
    if KeyFolder(place.keys).revoke(key_id):
        ledger.append(by.decides(EntryKind.KEY_REVOKED, key_id))
        typer.echo(
            f"{key_id} is revoked: what it signed is refused from now on, also where it is in force; "
            "publish those documents anew"
        )
    else:
        typer.echo(f"{key_id} was revoked before")
