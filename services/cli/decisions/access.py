"""`streamrec access`: who may decide what on the platform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

if TYPE_CHECKING:
    from streamrec.access.staff_file import Record
    from streamrec.callers.tokens import NewToken
    from streamrec.contracts.ledger_entry import ActorRole

app = typer.Typer(
    help="Who may decide what: add, rotate, revoke, list.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_DEFAULT_LIFETIME_DAYS = 90
_DEFAULT_OVERLAP_H = 24.0

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Lower-case words joined by dashes.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the ledger.")]
LifetimeOption = Annotated[
    int, typer.Option("--lifetime-days", min=1, max=3650, help="After which the new token is refused.")
]


@app.command("add")
def add(
    name: NameArgument,
    roles: Annotated[
        list[str],
        typer.Option("--role", help="platform, spoke, reviewer, responsible-ai ...; repeatable."),
    ],
    slots: Annotated[
        list[str] | None,
        typer.Option("--slot", help="Where the role spoke counts: TEAM.NAME or TEAM.*; may be repeated."),
    ] = None,
    lifetime_days: LifetimeOption = _DEFAULT_LIFETIME_DAYS,
    reason: ReasonOption = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Give somebody roles, and print their token: once, for nobody keeps it here.

    From the first one on, whoever decides something needs a token, so that one needs the role platform.
    """
    from streamrec.command_line.decisions.acting import staff_file

    place = Workspace(workspace)
    note = _recorder(place, "access add", "token_issued", name, reason)
    now = datetime.now(UTC)
    lifetime = timedelta(days=lifetime_days)
    _show(staff_file(place).add(name, _roles(roles), slots or (), now, lifetime, record=note))


@app.command("rotate")
def rotate(
    name: NameArgument,
    lifetime_days: LifetimeOption = _DEFAULT_LIFETIME_DAYS,
    overlap_h: Annotated[
        float,
        typer.Option(
            "--overlap-h", min=0.0, max=8760.0, help="Hours for which their other tokens still count."
        ),
    ] = _DEFAULT_OVERLAP_H,
    reason: ReasonOption = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Give somebody a new token and print it; their other tokens count for some hours more."""
    from streamrec.command_line.decisions.acting import staff_file

    place = Workspace(workspace)
    note = _recorder(place, "access rotate", "token_issued", name, reason)
    now = datetime.now(UTC)
    lifetime, overlap = timedelta(days=lifetime_days), timedelta(hours=overlap_h)
    _show(staff_file(place).rotate(name, now, lifetime, overlap, record=note))


@app.command("revoke")
def revoke(
    name: NameArgument,
    token_id: Annotated[
        str | None,
        typer.Option("--token", metavar="ID", help="This token alone, as 'streamrec access list' shows it."),
    ] = None,
    reason: ReasonOption = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Refuse somebody from now on, or one of their tokens."""
    from streamrec.command_line.decisions.acting import staff_file

    place = Workspace(workspace)
    note = _recorder(place, "access revoke", "token_revoked", name, reason)
    staff_file(place).revoke(name, token_id, datetime.now(UTC), record=note)
    what = name if token_id is None else f"token {token_id} of {name}"
    typer.echo(f"{what} is refused from now on")


@app.command("list")
def list_members(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """List who may decide what, and when their tokens expire."""
    from streamrec.access.permissions import role_for
    from streamrec.command_line.decisions.acting import acting, staff_file
    from streamrec.command_line.tables import stdout_console, table
    from streamrec.contracts.errors import NotFoundError

    place = Workspace(workspace)
    identity = acting(place)
    role_for(identity, "access list")
    file, now = staff_file(place), datetime.now(UTC)
    try:
        staff = file.read()
    except NotFoundError:
        typer.echo(f"there is no access file: {identity.actor}, who owns the workspace, acts in every role")
        return
    rows = [
        (
            member.name,
            ", ".join(member.roles),
            ", ".join(member.slots) or "-",
            *(
                (
                    token.token_id,
                    f"{token.expires_at:%Y-%m-%d %H:%M}Z, "
                    f"{'counts' if now < token.expires_at else 'expired'}",
                )
                if token is not None
                else ("-", "no token")
            ),
        )
        for member in staff.members
        for token in member.tokens or (None,)
    ]
    columns = ("name", "roles", "slots", "token", "expires")
    stdout_console().print(table(f"Who may decide in {place.root}", columns, rows))


def _roles(names: Sequence[str]) -> list[ActorRole]:
    from streamrec.contracts.errors import InvalidInputError
    from streamrec.contracts.ledger_entry import ActorRole

    known = {role.value: role for role in ActorRole}
    for name in names:
        if name not in known:
            raise InvalidInputError("role", f"{name!r} must be one of {', '.join(known)}")
    return [known[name] for name in names]


def _recorder(place: Workspace, command: str, kind: str, name: str, reason: str) -> Record:
    """Check that whoever acts may, and return what writes it into the ledger."""
    from streamrec.access.permissions import role_for
    from streamrec.command_line.composition import open_ledger
    from streamrec.command_line.decisions.acting import acting
    from streamrec.contracts.ledger_entry import EntryKind
    from streamrec.ledger.ledger import Decision

    identity = acting(place)
    role = role_for(identity, command)
    ledger = open_ledger(place)

    def note(evidence: Mapping[str, Any]) -> None:
        ledger.append(Decision(identity.actor, role, EntryKind(kind), name, reason, evidence))

    return note


def _show(token: NewToken) -> None:
    typer.echo(token.secret)
    typer.echo(
        f"token {token.kept.token_id}, until {token.kept.expires_at:%Y-%m-%d}: it is not shown again; "
        "whoever acts has it in STREAMREC_TOKEN",
        err=True,
    )
