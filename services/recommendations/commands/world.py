"""`streamrec recommendations world`: the simulated StreamRec."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.recommendations.commands.training_options import (
    DEFAULT_SEED,
    Effort,
    EffortOption,
    SeedOption,
    chosen_settings,
)
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

app = typer.Typer(help="The simulated StreamRec.", no_args_is_help=True)


@app.callback()
def world() -> None:
    """The simulated StreamRec."""


@app.command("generate")
def generate(
    output: Annotated[
        Path, typer.Option("--output", help="Data folder to write; an earlier one is replaced.")
    ],
    users: Annotated[int, typer.Option("--users", min=1, help="Users of the logged 30 days.")] = 5_000,
    items: Annotated[int, typer.Option("--items", min=1, help="Items of the catalogue.")] = 20_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same bytes.")] = 1,
) -> None:
    """Simulate users, creators and 30 days of sessions; write what a platform would have observed."""
    from services.recommendations.world.generate import generate_world
    from services.recommendations.world.settings import WorldSettings
    from streamrec.command_line.progress import shown_progress
    from streamrec.command_line.tables import figure_text, stdout_console, table

    console = stdout_console()
    with shown_progress(console) as progress:
        measures = generate_world(WorldSettings(users=users, items=items, seed=seed), output, progress)
    churn = measures.seven_day_churn
    console.print(
        table(
            f"World in {output}, under the old policy",
            ("measure", "value"),
            (
                ("users", f"{measures.users:,}"),
                ("items", f"{measures.items:,}"),
                ("interactions", f"{measures.interactions:,}"),
                ("creator-language exposure Gini", figure_text(measures.language_exposure_gini)),
                (
                    f"seven-day churn of {measures.new_users:,} new users",
                    "-" if churn is None else f"{churn.value:.1%} ({churn.low:.1%}-{churn.high:.1%})",
                ),
            ),
        )
    )


@app.command("closed-loop")
def closed_loop(
    data: Annotated[Path, typer.Option("--data", help="Data folder that 'world generate' wrote.")],
    new_users: Annotated[
        int, typer.Option("--new-users", min=1, max=500_000, help="New users of every arm.")
    ] = 20_000,
    arms: Annotated[
        str | None, typer.Option("--arms", metavar="NAME,...", help="Run these only; default: all of them.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write the figures here.")
    ] = None,
    seed: SeedOption = DEFAULT_SEED,
    effort: EffortOption = Effort.FULL,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Let brand-new users live under each policy for nine days: churn, satisfaction, regret, exposure."""
    from services.recommendations.world.generate import read_settings
    from streamrec.command_line.composition import load_data_folder, open_registry
    from streamrec.command_line.progress import shown_progress
    from streamrec.command_line.results import finish
    from streamrec.command_line.tables import stdout_console

    settings, dataset = read_settings(data), load_data_folder(data)
    # After the data: a wrong folder is refused before torch and PyMC are loaded.
    from services.recommendations.commands.closed_loop_table import closed_loop_table
    from services.recommendations.evaluation.judgements import closed_loop_result
    from services.recommendations.jobs.closed_loop import measure_closed_loop

    names = None if arms is None else [name.strip() for name in arms.split(",") if name.strip()]
    place = Workspace(workspace)
    console = stdout_console()
    with shown_progress(console) as progress:
        results = measure_closed_loop(
            settings,
            dataset,
            open_registry(place),
            place.training,
            users=new_users,
            names=names,
            seed=seed,
            progress=progress,
            settings=chosen_settings(place, effort, "cpu"),
        )
    console.print(closed_loop_table(results, settings.seed, new_users))
    finish(closed_loop_result(results), json_file)
