"""`streamrec up`: the command."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

if TYPE_CHECKING:
    from services.cli.up.parts import Part

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

HostOption = Annotated[
    str, typer.Option("--host", help="Address to listen on; anything but loopback is open to the network.")
]


def up(
    context: typer.Context,
    host: HostOption = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port", min=1, max=65_535, help="Port of the first spoke that serves; the next ones follow it."
        ),
    ] = 8000,
    api_port: Annotated[
        int, typer.Option("--api-port", min=1, max=65_535, help="Port of the control plane.")
    ] = 8010,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Run the whole platform on this machine until Ctrl-C: what serves, and the control plane."""
    from services.cli.spokes import installed_spokes
    from services.cli.up.parts import check_ports, control_plane_part, serving_parts, serving_spokes
    from services.cli.up.supervisor import Supervisor

    hub: Any = None if context.parent is None else context.parent.command
    place = Workspace(workspace.resolve())
    spokes, problems = serving_spokes(installed_spokes(() if hub is None else hub.commands))
    for problem in problems:
        typer.echo(f"left out: {problem}", err=True)
    parts = (*serving_parts(spokes, place.root, host, port), control_plane_part(place.root, host, api_port))
    with _alone_in(place):
        check_ports(parts)
        _say_first(place, parts)
        supervisor = Supervisor(parts, place.supervisor, _say)
        with _stop_asked() as asked:
            told = False

            def stopping() -> bool:
                nonlocal told
                if supervisor.all_ready and not told:
                    told = True
                    _say_what_to_try(place, parts)
                return asked.is_set()

            supervisor.run(stopping)
    typer.echo("all parts have ended")


@contextmanager
def _alone_in(place: Workspace) -> Iterator[None]:
    """One supervisor a workspace.

    Raises:
        OverloadedError: Another one is there; says which process.
        InvalidInputError: The folder of its logs cannot be made.
    """
    from streamrec.contracts.errors import InvalidInputError
    from streamrec.files.durable_files import make_folder
    from streamrec.files.locks import only_holder

    lock, holder = place.supervisor / "up.lock", place.supervisor / "up.pid"
    try:
        make_folder(place.supervisor)
    except OSError as error:
        raise InvalidInputError(
            "--workspace", f"{place.supervisor} cannot be made ({error.strerror})"
        ) from error
    who = holder.read_text(encoding="ascii", errors="replace").strip() if holder.is_file() else ""
    under = f", under the process {who}" if who else ""
    held = (
        f"the platform of {place.root} is up already{under}: stop it with Ctrl-C there, or name another "
        "--workspace"
    )
    with only_holder(lock, held):
        holder.write_text(f"{os.getpid()}\n", encoding="ascii")
        try:
            yield
        finally:
            holder.unlink(missing_ok=True)


@contextmanager
def _stop_asked() -> Iterator[threading.Event]:
    """Yield what Ctrl-C, SIGTERM and the end of the terminal set. Main thread only."""
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        if not asked.is_set():
            asked.set()  # a second Ctrl-C changes nothing: it must not leave processes behind
            typer.echo("\nstopping all parts")

    before = {number: signal.signal(number, ask) for number in _SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(part: Part, what: str) -> None:
    typer.echo(f"{part.name} {what}")


def _say_first(place: Workspace, parts: tuple[Part, ...]) -> None:
    typer.echo(f"the platform of {place.root} comes up; Ctrl-C stops it")
    width = max(len(part.name) for part in parts)
    for part in parts:
        typer.echo(
            f"  {part.name:<{width}}  {part.url}  {part.does}; its log: {place.supervisor}/{part.name}.log"
        )


def _say_what_to_try(place: Workspace, parts: tuple[Part, ...]) -> None:
    from services.cli.up.parts import CONTROL_PLANE

    api = parts[-1].url
    typer.echo("everything is ready. What to try next, in another terminal:")
    typer.echo(f"  export STREAMREC_API={api} STREAMREC_WORKSPACE={place.root}")
    typer.echo("  streamrec models serving                            # what serves")
    typer.echo('  streamrec models deploy NAME@VERSION --reason "..."  # gates, then a rollout')
    typer.echo("  streamrec rollouts list                             # and `rollouts watch NAME`")
    for part in parts:
        page = "openapi.json" if part.name == CONTROL_PLANE else "docs"
        typer.echo(f"  {part.url}/{page}  # the API of {part.name}")
