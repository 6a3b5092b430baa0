"""`streamrec recommendations index`: how the items are searched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamrec.command_line.training_data import (
    DataOption,
    ImportedOption,
    UntilOption,
    read_training_data,
)
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

if TYPE_CHECKING:
    from rich.console import Group

    from services.recommendations.item_index.tuning_report import Measurement, TuningReport

app = typer.Typer(help="The vector index over the items.", no_args_is_help=True)

_MEBIBYTE = 1 << 20


@app.callback()
def index() -> None:
    """The vector index over the items."""


@app.command("tune")
def tune(
    data: DataOption = None,
    imported: ImportedOption = None,
    until: UntilOption = None,
    replicate_to: Annotated[
        int | None,
        typer.Option(
            "--replicate-to",
            min=1,
            help="Measure at this many items: the catalogue's vectors and perturbed copies of them.",
        ),
    ] = None,
    queries: Annotated[
        int, typer.Option("--queries", min=40, max=100_000, help="Users to search for.")
    ] = 400,
    minimum_recall: Annotated[
        float,
        typer.Option(
            "--minimum-recall", min=0.5, max=0.9999, help="Share of the exact answer; lower 95 % bound."
        ),
    ] = 0.99,
    maximum_memory_mib: Annotated[
        int, typer.Option("--maximum-memory-mib", min=1, help="Most memory of an index with its vectors.")
    ] = 1024,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write every figure here.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", dir_okay=False, help="Draw recall against time here, as .png or .svg."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure and show; leave the workspace's choice as it is.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the users, the copies and k-means.")] = 1,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Measure index kinds on the champion's vectors; the next training builds the fastest good one.

    The queries are the users of the workspace's data and event log, or of --data alone.
    Good is: the lower bound of its mean recall of the exact 500 reaches the minimum. The choice is written to
    the workspace; 'streamrec recommendations train retrieval' reads it from there.
    """
    from services.recommendations.commands.composition import index_choice_file
    from services.recommendations.commands.index_plot import write_tuning_plot
    from streamrec.command_line.composition import champion_version, open_registry
    from streamrec.command_line.files import write_json
    from streamrec.command_line.progress import shown_progress
    from streamrec.command_line.results import finish, write_result
    from streamrec.command_line.tables import stdout_console
    from streamrec.contracts.errors import InvalidInputError

    if plot is not None and plot.suffix not in (".png", ".svg"):
        raise InvalidInputError("--plot", f"{plot} must end in .png or .svg")
    read = read_training_data(Workspace(workspace), data=data, imported=imported, until=until)
    # After the data: a wrong folder is refused before FAISS and MLflow are loaded.
    from services.recommendations.contracts.stages import RETRIEVAL, SLOTS
    from services.recommendations.evaluation.judgements import tuning_result
    from services.recommendations.item_index.tuning_report import TuningLimits
    from services.recommendations.jobs.index_tuning import tune_retriever
    from services.recommendations.retrieval.model import TwoTowerRetriever

    place = Workspace(workspace)
    registry = open_registry(place)
    version = champion_version(place, registry, SLOTS[RETRIEVAL])
    retriever = TwoTowerRetriever.load(registry.fetch(version))
    console = stdout_console()
    console.print(f"Users of {read.summary()}", markup=False, highlight=False, soft_wrap=True)
    with shown_progress(console) as progress:
        report = tune_retriever(
            retriever,
            read.dataset,
            TuningLimits(minimum_recall, maximum_memory_bytes=maximum_memory_mib * _MEBIBYTE),
            query_count=queries,
            item_count=replicate_to,
            seed=seed,
            progress=progress,
        )
    console.print(tuning_table(report, str(version.ref)))
    if report.reaches_limits:
        console.print(_conclusion(report), markup=False, highlight=False, soft_wrap=True)
    result = tuning_result(report, str(version.ref))
    if json_file is not None:
        write_result(result, json_file)
    if plot is not None:
        write_tuning_plot(report, plot)
        console.print(f"Plot in {plot}", markup=False, highlight=False)
    if report.reaches_limits and not dry_run:
        choice_file = index_choice_file(place)
        write_json(choice_file, report.choice().to_json())
        console.print(
            f"Choice in {choice_file}; 'streamrec recommendations train retrieval' builds it from now on",
            markup=False,
            highlight=False,
        )
    finish(result)


def tuning_table(report: TuningReport, version: str) -> Group:
    """Build the table of what was measured, the chosen one marked."""
    from streamrec.command_line.tables import table

    return table(
        f"{report.item_count:,} items of {report.dimension} dimensions, vectors of {version}; "
        f"{report.exact.recall.n:,} users, one thread",
        ("index", "recall@500 (95 %)", "p50 ms", "p99 ms", "MiB", "build s"),
        [_cells(measurement, report) for measurement in report.measurements],
    )


def _cells(measurement: Measurement, report: TuningReport) -> Sequence[str]:
    recall = measurement.recall
    chosen = report.reaches_limits and measurement.settings == report.chosen.settings
    return (
        f"{measurement.label}{'  <- chosen' if chosen else ''}",
        f"{recall.value:.4f} ({recall.low:.4f}-{recall.high:.4f})",
        f"{measurement.median_ms:.3f}",
        f"{measurement.p99_ms:.3f}",
        f"{measurement.memory_bytes / _MEBIBYTE:.0f}",
        f"{measurement.build_s:.1f}",
    )


def _conclusion(report: TuningReport) -> str:
    chosen, exact = report.chosen, report.chosen_exact
    text = (
        f"On {chosen.recall.n:,} other users: {chosen.label} finds {chosen.recall.value:.4f} "
        f"({chosen.recall.low:.4f}-{chosen.recall.high:.4f}) in {chosen.median_ms:.3f} ms"
    )
    if chosen.settings == exact.settings:
        return f"{text}; nothing faster reaches {report.limits.minimum_recall:.2%}"
    share = chosen.median_ms / exact.median_ms
    return f"{text}, {share:.0%} of the {exact.median_ms:.3f} ms of exact search"
