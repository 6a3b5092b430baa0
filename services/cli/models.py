"""`streamrec models`: registered versions, and the cards that training wrote about them."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import model_folders
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption
from streamrec.contracts.errors import InvalidInputError, NotFoundError
from streamrec.contracts.models import ModelRef, validate_model_name

if TYPE_CHECKING:
    from streamrec.registry.model_registry import ModelRegistry, ModelVersion
    from streamrec.rollout.traffic_writer import TrafficChanged

app = typer.Typer(
    no_args_is_help=True, help="Look at registered models, and say which serve.", rich_markup_mode=None
)

ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the history.")]
TimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout-s",
        min=1.0,
        max=3_600.0,
        help="Longest wait for the running replicas to load the versions.",
    ),
]


@app.command("list")
def list_versions(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """List every version of every registered model, the newest of each first."""
    from streamrec.command_line.composition import open_registry
    from streamrec.command_line.tables import stdout_console, table

    place = Workspace(workspace)
    registry = open_registry(place)
    versions = [version for name in registry.names() for version in registry.versions(name)]
    if not versions:
        typer.echo(f"no version is registered in {place.registry}")
        return
    rows = (
        (
            str(version.ref),
            ", ".join(sorted(version.aliases)) or "-",
            version.created_at.strftime("%Y-%m-%d %H:%M UTC"),
            ", ".join(f"{metric} {value:.4f}" for metric, value in list(version.metrics.items())[:3]) or "-",
        )
        for version in versions
    )
    stdout_console().print(
        table("Registered versions", ("version", "aliases", "registered", "metrics"), rows)
    )


app.command("train")(model_folders.train)
app.command("check")(model_folders.check)
app.command("register")(model_folders.register)


@app.command("card")
def card(
    model: Annotated[
        str, typer.Argument(metavar="NAME[@VERSION]", help="As 'streamrec models list' shows it.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the card for programs.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Print the model card of a version; where none is named, of the champion, else of the newest."""
    from streamrec.command_line.composition import champion_versions, open_registry
    from streamrec.command_line.tables import stdout_console
    from streamrec.training.model_card import CARD_DATA_FILE, CARD_TEXT_FILE

    place = Workspace(workspace)
    registry = open_registry(place)
    version = find_version(registry, model, partial(champion_versions, place))
    path = registry.fetch(version) / (CARD_DATA_FILE if as_json else CARD_TEXT_FILE)
    if not path.is_file():
        raise NotFoundError(
            f"{version.ref} was registered without a model card; train the model again: a new version has one"
        )
    text = path.read_text(encoding="utf-8")
    console = stdout_console()
    if console.is_terminal and not as_json:
        from rich.markdown import Markdown

        console.print(Markdown(text, hyperlinks=False))
    else:
        typer.echo(text, nl=False)


@app.command("promote")
def promote(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME@VERSION...",
            help="Versions of different slots; those that depend on each other go together.",
        ),
    ],
    reason: ReasonOption = "",
    slot: Annotated[
        str | None,
        typer.Option("--slot", help="Where a version goes that was registered without a slot."),
    ] = None,
    timeout_s: TimeoutOption = 60.0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Make versions the champions of their slots, all at once; running replicas load them first."""
    from streamrec.command_line.composition import open_traffic_writer

    changed = open_traffic_writer(Workspace(workspace)).promote(
        [ModelRef.parse(model) for model in models],
        actor=_actor(),
        reason=reason,
        slot=slot,
        timeout_s=timeout_s,
    )
    _say(changed)


@app.command("rollback")
def roll_back(
    slot: Annotated[str, typer.Argument(metavar="SLOT", help="As 'streamrec models serving' shows it.")],
    reason: ReasonOption = "",
    timeout_s: TimeoutOption = 60.0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Undo the newest promotion in SLOT, in every slot that it changed; again: the one before."""
    from streamrec.command_line.composition import open_traffic_writer

    _say(
        open_traffic_writer(Workspace(workspace)).roll_back(
            slot, actor=_actor(), reason=reason, timeout_s=timeout_s
        )
    )


@app.command("serving")
def serving(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Show which version serves in each slot, and who promoted it when and why."""
    from streamrec.command_line.composition import champion_versions, traffic_changes
    from streamrec.command_line.tables import stdout_console, table

    place = Workspace(workspace)
    champions = champion_versions(place)
    if not champions:
        typer.echo("nothing is promoted: streamrec models promote NAME@VERSION")
        return
    last = {slot: change for change in traffic_changes(place) for slot in change.after}
    rows = [
        (
            slot,
            str(ref),
            *(
                (
                    f"{last[slot].at:%Y-%m-%d %H:%M UTC}",
                    f"{last[slot].kind.value.replace('_', ' ')} by {last[slot].actor}",
                    last[slot].reason or "-",
                )
                if slot in last
                else ("-", "-", "-")
            ),
        )
        for slot, ref in sorted(champions.items())
    ]
    stdout_console().print(table("What serves", ("slot", "champion", "since", "how", "reason"), rows))


def _actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # an account without a name, as in some containers


def _say(changed: TrafficChanged) -> None:
    if not changed.after:
        typer.echo(f"all of it serves already: traffic revision {changed.revision}")
        return
    for slot, ref in sorted(changed.after.items()):
        typer.echo(f"{slot}: {changed.before.get(slot, 'nothing')} -> {ref}")
    count = len(changed.replicas)
    loaded = f"; {count} running replicas had loaded it first" if count else "; no replica is running"
    typer.echo(f"traffic revision {changed.revision} is in force{loaded}")
    if not changed.mirrored:
        typer.echo("the registry did not answer: its aliases say otherwise until the next change", err=True)


def find_version(
    registry: ModelRegistry, model: str, champions: Callable[[], Mapping[str, ModelRef]]
) -> ModelVersion:
    """Resolve ``NAME@VERSION`` to that version, and ``NAME`` to the champion or, without one, to the newest.

    Args:
        registry: What is registered.
        model: As a person wrote it.
        champions: What serves, by slot; asked where no version is named. The registry's aliases mirror it.

    Raises:
        InvalidInputError: It is neither.
        NotFoundError: There is no such model or version.
    """
    name, separator, number = model.partition("@")
    if not separator:
        versions = registry.versions(validate_model_name(name))
        if not versions:
            raise NotFoundError(f"no version of {name!r} is registered; 'streamrec models list' shows all")
        serving = set(champions().values())
        return next((version for version in versions if version.ref in serving), versions[0])
    if not (number.isascii() and number.isdigit()):
        raise InvalidInputError("model", f"{model!r} must be NAME or NAME@VERSION with a whole number")
    return registry.get(ModelRef(name, int(number)))
