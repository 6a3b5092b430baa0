"""`streamrec evaluate`: the one protocol every quality figure comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.train import DEFAULT_SEED
from services.cli.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption


def evaluate(
    data: Annotated[Path, typer.Option("--data", help="Data folder in the neutral format.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write the figures here.")
    ] = None,
    models: Annotated[
        str | None,
        typer.Option("--models", metavar="NAME,...", help="Evaluate these only; default: all of them."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw.")] = DEFAULT_SEED,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Train what is missing and report Hit@10, NDCG@10 and Recall@500: leave-last-out, full ranking."""
    from services.cli.composition import load_data_folder, open_registry
    from services.cli.files import write_json
    from services.cli.progress import shown_progress
    from services.cli.tables import offline_table, stdout_console

    dataset = load_data_folder(data)
    # After the data: a wrong folder is refused before torch and PyMC are loaded.
    from services.recommendations.evaluation_job import evaluate_models

    names = None if models is None else [name.strip() for name in models.split(",") if name.strip()]
    place = Workspace(workspace)
    console = stdout_console()
    with shown_progress(console) as progress:
        report = evaluate_models(
            dataset, open_registry(place), place.training, models=names, seed=seed, progress=progress
        ).to_json()
    console.print(offline_table(report["models"]))
    if json_file is not None:
        write_json(json_file, report)
        console.print(f"Figures in {json_file}", markup=False, highlight=False)
