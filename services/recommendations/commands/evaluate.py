"""`streamrec recommendations evaluate`: the one protocol every quality figure comes from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from services.recommendations.commands.training_options import (
    DEFAULT_SEED,
    DeviceOption,
    Effort,
    EffortOption,
    SeedOption,
    chosen_settings,
)
from streamrec.command_line.training_data import (
    DataOption,
    ImportedOption,
    UntilOption,
    read_training_data,
)
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

PLOTS_SUFFIX = "-plots"


def evaluate(
    data: DataOption = None,
    imported: ImportedOption = None,
    until: UntilOption = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write the figures here.")
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            "--plots",
            file_okay=False,
            help="Write the plots here; default: beside the JSON, where it is asked for.",
        ),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option("--models", metavar="NAME,...", help="Evaluate these only; default: all of them."),
    ] = None,
    closed_loop: Annotated[
        Path | None,
        typer.Option(
            "--closed-loop",
            dir_okay=False,
            help="Show what 'world closed-loop --json' wrote beside the rest.",
        ),
    ] = None,
    index_tuning: Annotated[
        Path | None,
        typer.Option(
            "--index-tuning", dir_okay=False, help="Show what 'index tune --json' wrote beside the rest."
        ),
    ] = None,
    seed: SeedOption = DEFAULT_SEED,
    effort: EffortOption = Effort.FULL,
    device: DeviceOption = "cpu",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Train what is missing and report every quality figure and bar: leave-last-out, full ranking."""
    from services.recommendations.commands.evaluation_tables import bars_summary, evaluation_table
    from streamrec.command_line.composition import open_registry
    from streamrec.command_line.progress import shown_progress
    from streamrec.command_line.results import finish, write_result
    from streamrec.command_line.tables import stdout_console

    read = read_training_data(Workspace(workspace), data=data, imported=imported, until=until)
    dataset = read.dataset
    # After the data: a wrong folder is refused before torch and PyMC are loaded.
    from services.recommendations.evaluation.judgements import (
        CLOSED_LOOP_SCHEMA,
        INDEX_TUNING_SCHEMA,
        evaluation_result,
    )
    from services.recommendations.evaluation.measured_elsewhere import read_figures, with_other_commands
    from services.recommendations.evaluation.plots import save_plots
    from services.recommendations.jobs.evaluation import evaluate_models

    others = {
        "closed_loop": None if closed_loop is None else read_figures(closed_loop, CLOSED_LOOP_SCHEMA),
        "index_tuning": None if index_tuning is None else read_figures(index_tuning, INDEX_TUNING_SCHEMA),
    }
    names = None if models is None else [name.strip() for name in models.split(",") if name.strip()]
    place = Workspace(workspace)
    console = stdout_console()
    console.print(f"Evaluating on {read.summary()}", markup=False, highlight=False, soft_wrap=True)
    with shown_progress(console) as progress:
        report = evaluate_models(
            dataset,
            open_registry(place),
            place.training,
            models=names,
            seed=seed,
            progress=progress,
            settings=replace(chosen_settings(place, effort, device), events_until=read.events_until),
        ).to_json()
    report = with_other_commands(report, **others)
    console.print(evaluation_table(report))
    console.print(bars_summary(report), markup=False, highlight=False)
    result = evaluation_result(report)
    if json_file is not None:
        write_result(result, json_file)
        plots = plots or json_file.with_name(json_file.stem + PLOTS_SUFFIX)
    if plots is not None:
        paths = save_plots(report, plots)
        console.print(f"Plots in {plots}: {len(paths)}", markup=False, highlight=False)
    finish(result)
