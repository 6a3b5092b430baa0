"""`streamrec demo`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.recommendations.commands.training_options import DEFAULT_SEED
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

if TYPE_CHECKING:
    from rich.console import Console


def demo(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="A MovieLens folder or one in the neutral format; default: simulate a world."
        ),
    ] = None,
    users: Annotated[int, typer.Option("--users", min=100, help="Users of the simulated world.")] = 5_000,
    items: Annotated[int, typer.Option("--items", min=1_000, help="Items of the simulated world.")] = 20_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw.")] = DEFAULT_SEED,
    requests: Annotated[
        int, typer.Option("--requests", min=1, max=1_000_000, help="Requests to measure.")
    ] = 2_000,
    new_user_share: Annotated[
        float, typer.Option("--new-user-share", min=0.0, max=1.0, help="Share of them from new users.")
    ] = 0.2,
    k: Annotated[int, typer.Option("--k", min=1, max=500, help="Length of a slate.")] = 10,
    clients: Annotated[int, typer.Option("--clients", min=1, max=64, help="Concurrent clients.")] = 2,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """From data to recommendations served over HTTP, with a report in WORKSPACE/demo."""
    from streamrec.command_line.composition import check_source

    if data is not None:
        check_source(data)  # before anything heavy is loaded
    from services.cli.demo.run import REPORT_FILE, DemoSettings, run_demo
    from streamrec.command_line.interrupts import sigterm_interrupts
    from streamrec.command_line.locks import only_run_in
    from streamrec.command_line.progress import shown_progress
    from streamrec.command_line.tables import stdout_console

    settings = DemoSettings(
        source=data,
        users=users,
        items=items,
        seed=seed,
        requests=requests,
        new_user_share=new_user_share,
        k=k,
        clients=clients,
        command=shlex.join(["streamrec", *sys.argv[1:]]),
    )
    place = Workspace(workspace).demo
    console = stdout_console()
    with sigterm_interrupts(), only_run_in(place.root), shown_progress(console) as progress:
        summary = run_demo(settings, place, console, progress)
    show_summary(console, summary)
    console.print(f"\nReport: {place.root / REPORT_FILE}", style="bold", markup=False, highlight=False)
    console.print(
        f"Serve these models yourself: streamrec recommendations serve --workspace {place.root}",
        markup=False,
        highlight=False,
    )
    if summary["served"]["errors"] == summary["served"]["requests"]:
        typer.echo("error: no request was answered; see server.log beside the report", err=True)
        raise typer.Exit(1)


def show_summary(console: Console, summary: dict[str, Any]) -> None:
    """Print the figures of a run as tables."""
    from services.cli.demo.summary import loop_rows
    from services.recommendations.commands.evaluation_tables import evaluation_table
    from streamrec.command_line.tables import figure_text, interval_text, table

    served, exposure, events = summary["served"], summary["exposure"], summary["events"]
    agreement = summary["served_equals_offline"]
    console.print()
    console.print(evaluation_table(summary["offline"]))
    latencies = {"request, at the client": served, **summary["stages"]}
    console.print(
        table(
            "Latency, ms",
            ("", "p50", "p95", "p99"),
            (
                (
                    name.replace("_", " "),
                    *(figure_text(figures[key], 1) for key in ("p50_ms", "p95_ms", "p99_ms")),
                )
                for name, figures in latencies.items()
            ),
        )
    )
    rows = [
        ("requests", f"{served['requests']:,}"),
        ("errors", f"{served['errors']:,}"),
        ("degraded", _percent(served["degraded_share"])),
        ("by cold start", _percent(served["cold_start_share"])),
        (
            "served equals offline",
            f"{agreement['identical']} of {agreement['compared']} slates"
            + (f"; {agreement['cut_off']} were cut off by the clock" if agreement["cut_off"] else ""),
        ),
        ("creator-language exposure Gini", figure_text(summary["exposure_gini"])),
        (
            f"same {exposure['same_users']} users: relevance order, served",
            f"{figure_text(exposure['relevance_order_gini'])}, "
            f"{figure_text(exposure['same_users_served_gini'])}",
        ),
        ("events accepted, quarantined", f"{events['accepted']:,}, {events['quarantined']:,}"),
    ]
    if summary["served_hit_at_10"] is not None:
        rows.append(("served Hit@10 of the held-out item", interval_text(summary["served_hit_at_10"])))
    console.print(table("Served", ("", "value"), rows))
    console.print(table("The loop", ("", "value"), loop_rows(summary["loop"])))
    console.print(
        table(
            f"Time: {summary['run']['total_s']:.0f} s in all",
            ("phase", "seconds"),
            ((phase["name"], f"{phase['seconds']:.1f}") for phase in summary["phases"]),
        )
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
