"""`streamrec models`: registered versions, and the cards that training wrote about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption
from streamrec.contracts.errors import InvalidInputError, NotFoundError
from streamrec.contracts.models import CHAMPION, ModelRef, validate_model_name

if TYPE_CHECKING:
    from streamrec.registry.model_registry import ModelRegistry, ModelVersion

app = typer.Typer(no_args_is_help=True, help="Look at registered models.", rich_markup_mode=None)


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


@app.command("card")
def card(
    model: Annotated[
        str, typer.Argument(metavar="NAME[@VERSION]", help="As 'streamrec models list' shows it.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the card for programs.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Print the model card of a version; where none is named, of the champion, else of the newest."""
    from streamrec.command_line.composition import open_registry
    from streamrec.command_line.tables import stdout_console
    from streamrec.training.model_card import CARD_DATA_FILE, CARD_TEXT_FILE

    registry = open_registry(Workspace(workspace))
    version = find_version(registry, model)
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


def find_version(registry: ModelRegistry, model: str) -> ModelVersion:
    """Resolve ``NAME@VERSION`` to that version, and ``NAME`` to the champion or, without one, to the newest.

    Raises:
        InvalidInputError: It is neither.
        NotFoundError: There is no such model or version.
    """
    name, separator, number = model.partition("@")
    if not separator:
        versions = registry.versions(validate_model_name(name))
        if not versions:
            raise NotFoundError(f"no version of {name!r} is registered; 'streamrec models list' shows all")
        return next((version for version in versions if CHAMPION in version.aliases), versions[0])
    if not (number.isascii() and number.isdigit()):
        raise InvalidInputError("model", f"{model!r} must be NAME or NAME@VERSION with a whole number")
    return registry.get(ModelRef(name, int(number)))
