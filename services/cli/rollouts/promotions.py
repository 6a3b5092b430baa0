"""`streamrec models promote` and `rollback`: requests to the controller of rollouts, without a canary."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from services.cli.control_plane.connection import ApiOption, connected
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, WorkspaceOption

if TYPE_CHECKING:
    from services.cli.control_plane.client import ControlPlaneClient
    from services.cli.rollouts.seen import SeenRollout

_LOOK_EVERY_S: Final = 0.25

ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the ledger.")]


def promote(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME@VERSION...",
            help="Versions of different slots; those that depend on each other go together.",
        ),
    ],
    reason: ReasonOption,
    slot: Annotated[
        str | None,
        typer.Option("--slot", help="Where a version goes that was registered without a slot."),
    ] = None,
    glass: Annotated[
        bool,
        typer.Option(
            "--break-glass",
            help="In an emergency: promote what is not eligible. Needs a reason, and shows.",
        ),
    ] = False,
    timeout_s: Annotated[
        float,
        typer.Option(
            "--timeout-s",
            min=1.0,
            max=3_600.0,
            help="Longest wait for the running replicas to load the versions; the rollout goes on after it.",
        ),
    ] = 60.0,
    api: ApiOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Make eligible versions champions at once, without a canary; running replicas load them first."""
    from services.cli.rollouts.seen import is_champion, status_result
    from services.cli.rollouts.shown import hours_text, move_words
    from streamrec.command_line.results import finish

    with connected(api, workspace) as control:
        started = control.start(models, reason, slot=slot, without_canary=True, break_glass=glass)
        name = str(started["rollout"])
        seen = _once_decided(control, name, timeout_s)
        history = control.history(name)
    state = seen.state
    if is_champion(state):
        for move in state.moves:
            typer.echo(move_words(move))
        count = max((slot.replicas for slot in seen.evidence.slots.values()), default=0)
        loaded = "running replicas had loaded it first" if count else "no replica is running"
        typer.echo(f"champion; {loaded}. Watched for {hours_text(state.plan.watch_hours)}: {name}")
        return
    from services.cli.rollouts.seen import SeenTransition

    last = SeenTransition.from_json(history[-1]) if history else None
    typer.echo(f"{name} is {state.phase.value}; see it: streamrec rollouts status {name}", err=True)
    finish(status_result(seen, last))


def roll_back(
    slot: Annotated[str, typer.Argument(metavar="SLOT", help="As 'streamrec models serving' shows it.")],
    reason: ReasonOption,
    api: ApiOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Take back what the last rollout did in SLOT, in all slots that it moved: as 'rollouts rollback'."""
    from services.cli.rollouts.commands import take_back

    with connected(api, workspace) as control:
        take_back(control, slot, reason)


def _once_decided(control: ControlPlaneClient, name: str, timeout_s: float) -> SeenRollout:
    """The rollout once its versions are champions, or it is over, or the time is."""
    from services.cli.rollouts.seen import SeenRollout, is_champion

    deadline_s = time.monotonic() + timeout_s
    while True:
        control.drive()
        seen = SeenRollout.from_json(control.look(name))
        over = seen.state.phase.is_over or is_champion(seen.state)
        if over or time.monotonic() >= deadline_s:
            return seen
        time.sleep(_LOOK_EVERY_S)
