"""`streamrec rollouts`: the commands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from services.cli.control_plane.connection import ApiOption, connected
from services.cli.rollouts.simulation import simulate
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, WorkspaceOption

if TYPE_CHECKING:
    from services.cli.control_plane.client import ControlPlaneClient
    from services.cli.rollouts.seen import SeenTransition

LOOKED_AT: Final = 1_000
"""Rollouts among which the last one of a slot or version is looked for."""

app = typer.Typer(
    no_args_is_help=True,
    help="See what is being rolled out and why it goes on or does not, and steer it.",
    rich_markup_mode=None,
)

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="As 'streamrec rollouts list' shows it; or a slot or NAME@VERSION: the last one of it.",
    ),
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the ledger.")]
JsonOption = Annotated[
    Path | None, typer.Option("--json", dir_okay=False, help="Write how it stands to this file.")
]
PlanFileOption = Annotated[
    Path | None,
    typer.Option(
        "--plan",
        exists=True,
        dir_okay=False,
        help="YAML: the plan that counts instead of that of model.yaml ('rollout' there).",
    ),
]


@app.command("list")
def list_rollouts(
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="So many at most.")] = 20,
    api: ApiOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """List rollouts, the one that moved last first."""
    from services.cli.rollouts.shown import LIST_COLUMNS, list_row
    from streamrec.command_line.tables import stdout_console, table
    from streamrec.contracts.rollouts.state import RolloutState

    with connected(api, workspace) as control:
        states = [RolloutState.from_json(state) for state in control.rollouts(limit)]
    if not states:
        typer.echo("nothing was ever rolled out: streamrec models deploy NAME@VERSION --reason ...")
        return
    rows = [list_row(state) for state in states]
    stdout_console().print(table("Rollouts", LIST_COLUMNS, rows, unbroken=1))


@app.command("status")
def status(
    name: NameArgument,
    json_file: JsonOption = None,
    api: ApiOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Show how a rollout stands: its step, its evidence, what it waits for. Under way: inconclusive."""
    from services.cli.rollouts.seen import SeenRollout, SeenTransition, status_result
    from services.cli.rollouts.shown import picture, transition_line
    from streamrec.command_line.results import finish
    from streamrec.command_line.tables import stdout_console

    with connected(api, workspace) as control:
        name = named(control, name)
        seen = SeenRollout.from_json(control.look(name))
        history = [SeenTransition.from_json(item) for item in control.history(name)]
    stdout_console().print(picture(seen))
    for one in history:
        typer.echo(transition_line(one))
    finish(status_result(seen, history[-1] if history else None), json_file)


@app.command("watch")
def watch_rollout(
    name: NameArgument,
    until_champion: Annotated[
        bool,
        typer.Option(
            "--until-champion", help="End once its versions are champions, before they are watched."
        ),
    ] = False,
    json_file: JsonOption = None,
    api: ApiOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Watch a rollout until it is over: steps, evidence and bounds live; in a pipe a line for each change."""
    from services.cli.rollouts.seen import status_result
    from services.cli.rollouts.watching import screen_for, watch
    from streamrec.command_line.results import finish
    from streamrec.command_line.tables import stdout_console

    with connected(api, workspace) as control, screen_for(stdout_console()) as screen:
        seen, last = watch(control, named(control, name), screen, until_champion=until_champion)
    finish(status_result(seen, last, until_champion=until_champion), json_file)


@app.command("start")
def start(
    models: Annotated[
        list[str],
        typer.Argument(metavar="NAME@VERSION...", help="Of different slots; several move together."),
    ],
    reason: ReasonOption,
    plan_file: PlanFileOption = None,
    api: ApiOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Roll out versions that are eligible already; 'streamrec models deploy' does so by itself."""
    with connected(api, workspace) as control:
        state = control.start(models, reason, plan=plan_of(plan_file))
        control.drive()
        say_rollout(control, str(state["rollout"]))


@app.command("pause")
def pause(
    name: NameArgument,
    reason: ReasonOption,
    api: ApiOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Hold a rollout where it is. Harm still rolls it back, and its deadlines still end it."""
    _ask(api, workspace, name, "pause", reason)


@app.command("resume")
def resume(
    name: NameArgument,
    reason: ReasonOption,
    api: ApiOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Let a paused rollout go on."""
    _ask(api, workspace, name, "resume", reason)


@app.command("promote")
def promote(
    name: NameArgument,
    reason: ReasonOption,
    api: ApiOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Skip what is left of the canary: its versions become champions, and are watched all the same."""
    _ask(api, workspace, name, "promote", reason)


@app.command("abort")
def abort(
    name: NameArgument,
    reason: ReasonOption,
    api: ApiOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """End a rollout; what served before serves."""
    _ask(api, workspace, name, "abort", reason)


@app.command("retry")
def retry(
    name: NameArgument,
    reason: ReasonOption,
    api: ApiOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Start another rollout of the same versions by the same plan, after one that did not succeed."""
    _ask(api, workspace, name, "retry", reason)


@app.command("rollback")
def roll_back(
    slot: Annotated[str, typer.Argument(metavar="SLOT", help="As 'streamrec models serving' shows it.")],
    reason: ReasonOption,
    api: ApiOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Take back what the last rollout did in SLOT and in all that it moved; again: the one before."""
    with connected(api, workspace) as control:
        take_back(control, slot, reason)


app.command("simulate")(simulate)


def plan_of(file: Path | None) -> Mapping[str, Any] | None:
    """The plan in a YAML file, checked; None where there is no file.

    Raises:
        InvalidInputError: It is no plan; names the field.
    """
    if file is None:
        return None
    from streamrec.contracts.json_documents import document_json, read_document
    from streamrec.contracts.specification.rollout_plan import RolloutPlan
    from streamrec.contracts.specification.safe_yaml import parse_yaml

    document = parse_yaml(file.read_bytes())
    return document_json(read_document(RolloutPlan, document, path=str(file)))


def named(control: ControlPlaneClient, text: str) -> str:
    """The name of a rollout that somebody means: by its name, or the last one of a slot or a version.

    Raises:
        NotFoundError: There is none among the last `LOOKED_AT`.
    """
    from streamrec.contracts.errors import NotFoundError
    from streamrec.contracts.rollouts.state import RolloutState

    if "." not in text and "@" not in text:
        return text
    for state in map(RolloutState.from_json, control.rollouts(LOOKED_AT)):
        if text in (*state.slots, *map(str, state.challengers)):
            return state.rollout
    raise NotFoundError(
        f"there is no rollout of {text} among the last {LOOKED_AT:,}: streamrec rollouts list"
    )


def take_back(control: ControlPlaneClient, slot: str, reason: str) -> None:
    """Roll a slot back, and say what serves there then."""
    from streamrec.contracts.rollouts.state import RolloutState

    state = RolloutState.from_json(control.roll_back(slot, reason))
    control.drive()
    for move in state.moves:
        typer.echo(f"{move.slot}: {move.challenger} -> {move.champion or 'nothing'}")
    typer.echo(f"the rollout {state.rollout} is taken back; replicas follow within seconds")


def say_rollout(control: ControlPlaneClient, name: str) -> None:
    """Say how a rollout stands, and what to do next."""
    from services.cli.rollouts.seen import SeenRollout, SeenTransition
    from services.cli.rollouts.shown import head_lines

    seen = SeenRollout.from_json(control.look(name))
    history: list[SeenTransition] = [SeenTransition.from_json(item) for item in control.history(name)]
    for line in head_lines(seen.state):
        typer.echo(line)
    if seen.state.phase.is_over:
        typer.echo(f"  why: {history[-1].reason}")
    else:
        typer.echo(f"next: streamrec rollouts watch {name}")


def _ask(api: str | None, workspace: Path, name: str, what: str, reason: str) -> None:
    with connected(api, workspace) as control:
        state = control.ask(named(control, name), what, reason)
        control.drive()
        say_rollout(control, str(state["rollout"]))
