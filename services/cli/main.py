"""The `streamrec` command: the groups, the options before a command, and how errors reach a person."""

from __future__ import annotations

import logging
import os
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from services.cli import data, events, features, models
from services.cli.demo import command as demo
from services.recommendations.commands import evaluate, exposure, hand_over, index, serve, train, world
from streamrec.contracts.errors import StreamRecError
from streamrec.contracts.exit_statuses import ExitStatus, exit_status_of_error

_ORDER: Final = (
    "demo",
    "data",
    "world",
    "features",
    "train",
    "index",
    "evaluate",
    "hand-over",
    "models",
    "serve",
    "events",
    "exposure",
)
_OWN_PACKAGES: Final = ("streamrec", "services")


class ErrorReportingGroup(TyperGroup):
    """Turns an error that the platform raises on purpose into one line on stderr and its exit status.

    Any other exception is a defect: it keeps its traceback, and Python's exit status is 1.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """List the commands in the order of the data's path."""
        return sorted(super().list_commands(ctx), key=_ORDER.index)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; with ``--debug`` every error keeps its traceback."""
        try:
            return super().invoke(ctx)
        except StreamRecError as error:
            if ctx.params.get("debug"):
                raise
            _report(str(error))
            raise typer.Exit(exit_status_of_error(error)) from error
        except ModuleNotFoundError as error:
            if ctx.params.get("debug") or error.name is None or error.name.split(".")[0] in _OWN_PACKAGES:
                raise
            _report(
                f"the package {error.name!r} is not installed; this command needs the extras: "
                "pip install 'streamrec[serving,training]'"
            )
            raise typer.Exit(ExitStatus.WRONG_INPUT) from error


def _report(problem: str) -> None:
    typer.secho("error: ", err=True, nl=False, fg=typer.colors.RED, bold=True)
    typer.echo(" ".join(problem.split()), err=True)


app = typer.Typer(
    name="streamrec",
    cls=ErrorReportingGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="StreamRec: recommendations from data to serving, and the hub every team ships models on.",
)
app.add_typer(data.app, name="data")
app.add_typer(world.app, name="world")
app.add_typer(features.app, name="features")
app.command("train")(train.train)
app.add_typer(index.app, name="index")
app.command("evaluate")(evaluate.evaluate)
app.command("hand-over")(hand_over.hand_over)
app.add_typer(models.app, name="models")
app.command("serve")(serve.serve)
app.add_typer(events.app, name="events")
app.add_typer(exposure.app, name="exposure")
app.command("demo")(demo.demo)


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="STREAMREC_DEBUG", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """StreamRec: recommendations from data to serving, and the hub every team ships models on."""
    del debug  # read by ErrorReportingGroup, before the command runs


def main() -> None:
    """Run the command line."""
    # A library's warnings are for whoever mends this code, not for a person at the command line.
    logging.captureWarnings(True)
    # Threads that wait for each other sleep: where other processes want the cores too, spinning ones
    # hold them up and are held up. OpenMP reads this when the first library that uses it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()


if __name__ == "__main__":
    main()
