"""The `streamrec` command: the hub's groups, the installed spokes, and how errors reach a person."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from services.cli import (
    callers,
    data,
    events,
    features,
    items,
    keys,
    ledger,
    metrics,
    models,
)
from services.cli.decisions import access, deployments, reviews
from services.cli.demo import command as demo
from services.cli.rollouts import commands as rollouts
from services.cli.spokes import Spoke, SpokeLoadError, UnloadableSpoke, installed_spokes, mounted_command
from services.cli.up import command as up
from streamrec.command_line.library_folders import library_folders
from streamrec.contracts.errors import StreamRecError
from streamrec.contracts.exit_statuses import ExitStatus, exit_status_of_error

_HUB_PACKAGES: Final = ("streamrec", "services")


class HubGroup(TyperGroup):
    """The hub's commands and those of every installed spoke.

    An error that the platform raises on purpose, in a spoke's commands too, becomes one line on stderr and
    its exit status. Any other exception is a defect: it keeps its traceback, and Python's exit status is 1.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._spokes: Mapping[str, Spoke] = {}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Find the installed spokes first; one whose name is wrong or taken ends the command."""
        try:
            self._spokes = installed_spokes(self.commands)
        except StreamRecError as error:
            _report(str(error))
            raise typer.Exit(exit_status_of_error(error)) from error
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        """List the hub's commands, then the spokes."""
        return [*super().list_commands(ctx), *self._spokes]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; a spoke's code is imported here, when it is asked for."""
        spoke = self._spokes.get(cmd_name)
        return super().get_command(ctx, cmd_name) if spoke is None else mounted_command(spoke)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that is meant, or say what there is."""
        known = self.list_commands(ctx)
        if args[0] not in known:
            close = get_close_matches(args[0], known)
            suggestion = f" Did you mean {' or '.join(repr(name) for name in close)}?" if close else ""
            ctx.fail(
                f"No such command {args[0]!r}.{suggestion} Spokes installed here: "
                f"{', '.join(self._spokes) or 'none'}. After a spoke has been added to the pyproject.toml "
                "of an editable package, install that package again."
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """List the hub's commands and the spokes in the help; report a spoke that cannot be loaded."""
        spokes = {name: mounted_command(spoke) for name, spoke in self._spokes.items()}
        for command in spokes.values():
            if isinstance(command, UnloadableSpoke):
                _report(str(command.error))
        limit = formatter.width - 6 - max(map(len, [*self.commands, *spokes]))
        for title, commands in (("Commands", self.commands), ("Spokes", spokes)):
            rows = [
                (name, command.get_short_help_str(limit))
                for name, command in commands.items()
                if not command.hidden
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; with ``--debug`` every error keeps its traceback."""
        try:
            return super().invoke(ctx)
        except StreamRecError as error:
            if ctx.params.get("debug"):
                raise
            _report(str(error))
            raise typer.Exit(exit_status_of_error(error)) from error
        except SpokeLoadError as error:
            if ctx.params.get("debug"):
                raise
            _report(str(error))
            raise typer.Exit(ExitStatus.UNFORESEEN) from error
        except ModuleNotFoundError as error:
            advice = self._missing_package(error, self._spokes.get(ctx.invoked_subcommand))
            if ctx.params.get("debug") or advice is None:
                raise
            _report(advice)
            raise typer.Exit(ExitStatus.WRONG_INPUT) from error

    def _missing_package(self, error: ModuleNotFoundError, spoke: Spoke | None) -> str | None:
        """Say what to install; None where it is a module of our own, or of the spoke, that is missing."""
        own = _HUB_PACKAGES if spoke is None else (*_HUB_PACKAGES, spoke.top_package)
        if error.name is None or error.name.split(".")[0] in own:
            return None
        missing = f"the package {error.name!r} is not installed; "
        if spoke is None or spoke.top_package in _HUB_PACKAGES:
            extras = "streamrec[serving,training,governance]"
            return f"{missing}this command needs the extras: pip install '{extras}'"
        return f"{missing}install {spoke.distribution} with all that the spoke {spoke.name!r} needs"


def _report(problem: str) -> None:
    typer.secho("error: ", err=True, nl=False, fg=typer.colors.RED, bold=True)
    typer.echo(" ".join(problem.split()), err=True)


# In the order in which help lists them: commands first, then groups along the data's path, then spokes.
app = typer.Typer(
    name="streamrec",
    cls=HubGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="StreamRec: the hub that every team ships models on, and the spokes that are installed.",
)
app.command("demo")(demo.demo)
app.command("up")(up.up)
app.add_typer(data.app, name="data")
app.add_typer(items.app, name="items")
app.add_typer(features.app, name="features")
models.app.command("deploy")(deployments.deploy)
app.add_typer(models.app, name="models")
app.add_typer(rollouts.app, name="rollouts")
app.add_typer(ledger.app, name="ledger")
app.add_typer(events.app, name="events")
app.add_typer(metrics.app, name="metrics")
app.add_typer(keys.app, name="keys")
app.add_typer(reviews.reviews, name="reviews")
app.add_typer(reviews.overrides, name="overrides")
app.add_typer(reviews.remediations, name="remediations")
app.add_typer(access.app, name="access")
app.add_typer(callers.app, name="callers")


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="STREAMREC_DEBUG", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """StreamRec: the hub that every team ships models on, and the spokes that are installed."""
    del debug  # read by HubGroup, before the command runs


def main() -> None:
    """Run the command line."""
    # A library's warnings are for whoever mends this code, not for a person at the command line.
    logging.captureWarnings(True)
    # Threads that wait for each other sleep: where other processes want the cores too, spinning ones
    # hold them up and are held up. OpenMP reads this when the first library that uses it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with library_folders() as folders:
        app(obj=folders)


if __name__ == "__main__":
    main()
