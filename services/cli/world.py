"""`streamrec world`: the simulated StreamRec."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    from services.cli.progress import shown_progress
    from services.cli.tables import figure_text, stdout_console, table
    from services.recommendations.world.generate import generate_world
    from services.recommendations.world.settings import WorldSettings

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
