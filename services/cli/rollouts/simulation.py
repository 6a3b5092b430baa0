"""`streamrec rollouts simulate`: how often the analysis errs, and how soon it finds a fault."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streamrec.contracts.intervals import Interval
    from streamrec.rollout.simulation import SimulationResult


def simulate(
    rollouts: Annotated[
        int, typer.Option("--rollouts", min=1, max=1_000_000, help="Of equal versions, from start to end.")
    ] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31, help="Of all draws.")] = 1,
    processes: Annotated[
        int, typer.Option("--processes", min=0, max=256, help="That simulate at once; 0: one a core.")
    ] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write all figures to this file.")
    ] = None,
) -> None:
    """Simulate rollouts through the real analysis: false rollbacks, and requests until a fault is found."""
    from rich.console import Console

    from streamrec.command_line.progress import shown_progress
    from streamrec.command_line.results import finish
    from streamrec.command_line.tables import stdout_console, table
    from streamrec.rollout.simulation import simulate as simulated

    with shown_progress(Console(stderr=True)) as progress:
        found = simulated(rollouts, seed=seed, processes=processes or os.cpu_count() or 1, progress=progress)
    for line in false_decisions(found):
        typer.echo(line)
    columns = ("fault", "size", "requests p50", "p95", "demanded", "power", "runs")
    rows = [
        (
            one.fault.replace("_", " "),
            f"{one.size:g}",
            _count(one.canary_requests_p50),
            _count(one.canary_requests_p95),
            "-" if one.bar_p95 is None else f"{_count(one.bar_p50)} / {_count(one.bar_p95)}",
            f"{one.power:.1%}",
            f"{one.runs:,}",
        )
        for one in found.detection
    ]
    stdout_console().print(table("Canary requests until a fault is found", columns, rows))
    finish(found.result, json_file)


def false_decisions(found: SimulationResult) -> list[str]:
    """What went wrong by chance, in words."""
    return [
        f"rolled back though equal: {_share(found.false_rollback)} of {found.rollouts:,} rollouts",
        f"shown not to be worse though worse by the margin of {found.margin:.0%}: "
        f"{_share(found.wrongly_shown)}",
        f"shown not to be worse where equal: {_share(found.shown_when_equal)}",
    ]


def _share(seen: Interval) -> str:
    return f"{seen.value:.2%} ({seen.low:.2%} to {seen.high:.2%})"


def _count(requests: int | None) -> str:
    return "-" if requests is None else f"{requests:,}"
