"""`streamrec callers`: the programs that may use a service that asks for tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamrec.command_line.caller_options import (
    BurstOption,
    CallersFileOption,
    InFlightOption,
    RequestsOption,
    limit_of,
)
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

if TYPE_CHECKING:
    from streamrec.callers.callers_file import CallersFile
    from streamrec.callers.tokens import NewToken
    from streamrec.contracts.callers import CallerLimit, CallerToken

app = typer.Typer(
    help="The callers of a service that asks for tokens: add, rotate, revoke, limit, list.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_DEFAULT_LIFETIME_DAYS = 365
_DEFAULT_OVERLAP_H = 24.0

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Of the caller: lower-case words joined by dashes.")
]
LifetimeOption = Annotated[
    int, typer.Option("--lifetime-days", min=1, max=3650, help="After which the new token is refused.")
]


@app.command("add")
def add(
    name: NameArgument,
    lifetime_days: LifetimeOption = _DEFAULT_LIFETIME_DAYS,
    requests_per_s: RequestsOption = None,
    burst: BurstOption = None,
    in_flight: InFlightOption = None,
    file: CallersFileOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Let a new caller in, and print its token: once, for nobody keeps it here."""
    callers = _callers_file(file, workspace)
    limit = limit_of(requests_per_s, burst, in_flight)
    _show(callers.add(name, limit, datetime.now(UTC), timedelta(days=lifetime_days)))


@app.command("rotate")
def rotate(
    name: NameArgument,
    lifetime_days: LifetimeOption = _DEFAULT_LIFETIME_DAYS,
    overlap_h: Annotated[
        float,
        typer.Option(
            "--overlap-h", min=0.0, max=8760.0, help="Hours for which its other tokens still count."
        ),
    ] = _DEFAULT_OVERLAP_H,
    file: CallersFileOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Give a caller a new token and print it; its other tokens count for some hours more."""
    callers = _callers_file(file, workspace)
    now = datetime.now(UTC)
    _show(callers.rotate(name, now, timedelta(days=lifetime_days), timedelta(hours=overlap_h)))


@app.command("revoke")
def revoke(
    name: NameArgument,
    token_id: Annotated[
        str | None,
        typer.Option("--token", metavar="ID", help="This token alone, as 'streamrec callers list' shows it."),
    ] = None,
    file: CallersFileOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Refuse a caller from now on, or one of its tokens. Running services follow within seconds."""
    _callers_file(file, workspace).revoke(name, token_id)
    what = name if token_id is None else f"token {token_id} of {name}"
    typer.echo(f"{what} is refused from now on")


@app.command("limit")
def limit_caller(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Of the caller; without it the default of all others."),
    ] = None,
    requests_per_s: RequestsOption = None,
    burst: BurstOption = None,
    in_flight: InFlightOption = None,
    file: CallersFileOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Limit what a caller may send; without --requests-per-s take its limit away."""
    limit = limit_of(requests_per_s, burst, in_flight)
    _callers_file(file, workspace).limit(name, limit)
    typer.echo(f"{'callers without a limit of their own' if name is None else name}: {_words(limit)}")


@app.command("list")
def list_callers(file: CallersFileOption = None, workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """List callers, when their tokens expire, and their limits."""
    from streamrec.command_line.tables import stdout_console, table

    callers_file = _callers_file(file, workspace)
    callers, now = callers_file.read(), datetime.now(UTC)
    rows = [
        (caller.name, *tokens, _words(caller.limit or callers.default_limit))
        for caller in callers.callers
        for tokens in [_state(token, now) for token in caller.tokens] or [("-", "-", "no token")]
    ]
    columns = ("caller", "token", "expires", "state", "limit")
    stdout_console().print(table(f"Callers in {callers_file.path}", columns, rows))


def _callers_file(file: Path | None, workspace: Path) -> CallersFile:
    from streamrec.callers.callers_file import CallersFile

    return CallersFile(file or Workspace(workspace).callers)


def _show(token: NewToken) -> None:
    typer.echo(token.secret)
    typer.echo(
        f"token {token.kept.token_id}, until {token.kept.expires_at:%Y-%m-%d}: it is not shown again",
        err=True,
    )


def _state(token: CallerToken, now: datetime) -> tuple[str, str, str]:
    state = "counts" if now < token.expires_at else "expired"
    return token.token_id, f"{token.expires_at:%Y-%m-%d %H:%M}Z", state


def _words(limit: CallerLimit | None) -> str:
    if limit is None:
        return "no limit"
    in_flight = "" if limit.maximum_in_flight is None else f", {limit.maximum_in_flight} under way"
    return f"{limit.requests_per_s:g} a second, {limit.burst} at once{in_flight}"
