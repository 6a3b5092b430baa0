"""`streamrec models`: registered versions, and the cards that training wrote about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import audits, model_folders
from services.cli.rollouts import promotions
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption
from streamrec.contracts.errors import InvalidInputError, NotFoundError
from streamrec.contracts.models import ModelRef, validate_model_name

if TYPE_CHECKING:
    from streamrec.registry.model_registry import ModelRegistry, ModelVersion

app = typer.Typer(
    no_args_is_help=True, help="Look at registered models, and say which serve.", rich_markup_mode=None
)

app.command("audit")(audits.audit)


@app.command("list")
def list_versions(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """List every version, the newest of each first, where each stands, and what the registry says falsely."""
    from streamrec.command_line.composition import open_registry
    from streamrec.command_line.decisions.standings import read_standings
    from streamrec.command_line.tables import stdout_console, table

    place = Workspace(workspace)
    registry = open_registry(place)
    versions = [version for name in registry.names() for version in registry.versions(name)]
    if not versions:
        typer.echo(f"no version is registered in {place.registry}")
        return
    standings = read_standings(place)
    for line in standings.overdue():
        typer.echo(line, err=True)
    rows = (
        (
            str(version.ref),
            ", ".join(sorted(version.aliases)) or "-",
            version.created_at.strftime("%Y-%m-%d %H:%M UTC"),
            "; ".join(standings.words(version)),
            ", ".join(f"{metric} {value:.4f}" for metric, value in list(version.metrics.items())[:3]) or "-",
        )
        for version in versions
    )
    stdout_console().print(
        table("Registered versions", ("version", "aliases", "registered", "standing", "metrics"), rows)
    )
    problems = (problem.line for version in versions if (problem := standings.problem(version)) is not None)
    for line in (*problems, *standings.drift(versions)):
        typer.echo(line, err=True)


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


app.command("promote")(promotions.promote)
app.command("rollback")(promotions.roll_back)


@app.command("revoke")
def revoke(
    model: Annotated[
        str, typer.Argument(metavar="NAME@VERSION", help="As 'streamrec models list' shows it.")
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the ledger and for whoever is refused.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Revoke the verdict over a version: no replica loads it any more. Roll its slot back first."""
    from streamrec.command_line.decisions.desk import actor_for, open_desk
    from streamrec.governance.deployment import revoke as revoke_verdict

    place = Workspace(workspace)
    found = revoke_verdict(open_desk(place), actor_for(place, "models revoke", reason), ModelRef.parse(model))
    typer.echo(f"{found.ref}: {found.standing}. Replicas that have it loaded go on until traffic leaves it")


@app.command("serving")
def serving(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Show which version serves in each slot, who promoted it when and why, and what it stands on."""
    from streamrec.command_line.composition import champion_versions, traffic_changes
    from streamrec.command_line.decisions.standings import read_standings
    from streamrec.command_line.tables import stdout_console, table

    place = Workspace(workspace)
    champions = champion_versions(place)
    if not champions:
        typer.echo("nothing is promoted: streamrec models deploy NAME@VERSION, then promote it")
        return
    standings = read_standings(place)
    for line in standings.overdue():
        typer.echo(line, err=True)
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
            "; ".join(standings.words_of(ref)),
        )
        for slot, ref in sorted(champions.items())
    ]
    stdout_console().print(
        table("What serves", ("slot", "champion", "since", "how", "reason", "standing"), rows, unbroken=2)
    )
    problems = (problem.line for ref in champions.values() if (problem := standings.problem_of(ref)))
    for line in problems:
        typer.echo(line, err=True)


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
