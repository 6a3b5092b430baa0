"""`streamrec recommendations bench`: the service under load, beside what somebody would run instead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Group

    from services.recommendations.load_tests.bench import BenchReport, BenchSettings
    from services.recommendations.load_tests.systems import System

GROWTH_ITEMS = (20_000, 200_000, 2_000_000)
_DEFAULT_RPS = (10.0, 60.0)


def bench(
    items: Annotated[
        int, typer.Option("--items", min=400, max=5_000_000, help="Items of the catalogue.")
    ] = 200_000,
    rps: Annotated[
        list[float] | None,
        typer.Option("--rps", min=0.1, max=5_000.0, help="Requests a second; may be given several times."),
    ] = None,
    systems: Annotated[
        str,
        typer.Option("--systems", help="What to compare, by name, joined by commas; all where not given."),
    ] = "",
    duration_s: Annotated[
        float, typer.Option("--duration-s", min=0.1, max=3_600.0, help="Seconds of each load.")
    ] = 20.0,
    warm_up_s: Annotated[
        float,
        typer.Option("--warm-up-s", min=0.0, max=3_600.0, help="Seconds of the load before, unmeasured."),
    ] = 5.0,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, max=100, help="Rounds; the systems take turns in each.")
    ] = 3,
    gateways: Annotated[
        int,
        typer.Option("--gateways", min=0, max=16, help="Gateways that answer; 0: as many as `serve` has."),
    ] = 0,
    find_capacity: Annotated[
        bool,
        typer.Option(
            "--find-capacity", help="Search the highest rate with p99 <= 100 ms and 1 % degraded at most."
        ),
    ] = False,
    growth: Annotated[
        bool, typer.Option("--growth", help="Measure 20,000, 200,000 and 2,000,000 items instead of --items.")
    ] = False,
    users: Annotated[
        int, typer.Option("--users", min=10, max=200_000, help="Users with a history.")
    ] = 10_000,
    known_share: Annotated[
        float, typer.Option("--known-share", min=0.0, max=1.0, help="Share of requests that come from them.")
    ] = 0.7,
    event_share: Annotated[
        float, typer.Option("--event-share", min=0.0, max=1.0, help="Share of answers that an event follows.")
    ] = 0.1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the world and of every load.")] = 1,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write rows, stages and machine here.")
    ] = None,
    folder: Annotated[
        Path,
        typer.Option("--folder", file_okay=False, help="Where workspaces are kept, and plots and logs go."),
    ] = Path("var/bench"),
) -> None:
    """Measure latency, throughput and processor time under an open loop of requests, side by side.

    The workspace is made without training and kept; each system is started anew in every round, with a Redis
    of its own. The machine should do nothing else.
    """
    from services.recommendations.load_tests.bench import BenchReport, BenchSettings, document_of, run_bench
    from services.recommendations.load_tests.plots import write_plots
    from services.recommendations.load_tests.redis_server import check_redis
    from services.recommendations.load_tests.schedule import LoadSettings
    from services.recommendations.load_tests.workspace import made_workspace
    from services.recommendations.load_tests.world_settings import WorldSettings
    from streamrec.command_line.files import write_json
    from streamrec.command_line.interrupts import sigterm_interrupts
    from streamrec.command_line.locks import LOCK_FILE
    from streamrec.command_line.progress import shown_progress
    from streamrec.command_line.tables import stdout_console
    from streamrec.files.durable_files import make_folder
    from streamrec.files.locks import only_holder

    load = LoadSettings(
        rps=60.0,
        duration_s=duration_s,
        warm_up_s=warm_up_s,
        known_share=known_share,
        event_share=event_share,
        seed=seed,
    )
    # A search of its own needs no rate beside it.
    rates = tuple(rps) if rps else () if find_capacity else _DEFAULT_RPS
    settings = BenchSettings(_systems_of(systems), rates, rounds, load, gateways, find_capacity)
    worlds = [
        WorldSettings(item_count=count, user_count=users, seed=seed)
        for count in (GROWTH_ITEMS if growth else (items,))
    ]
    check_redis()
    console, reports = stdout_console(), list[BenchReport]()
    make_folder(folder)
    held = f"a load test is under way in {folder}: two at once would measure each other; wait for it"
    with sigterm_interrupts(), only_holder(folder / LOCK_FILE, held):
        for world in worlds:
            results = folder / f"results-{world.key}"
            results.mkdir(parents=True, exist_ok=True)
            with shown_progress(console) as progress:
                made = made_workspace(folder, world, progress)
                report = run_bench(settings, made, results, progress)
            reports.append(report)
            console.print(bench_table(report))
            if report.capacity_rps:
                console.print(capacity_table(report, settings))
            for path in write_plots(report, results):
                console.print(f"Plot in {path}", markup=False, highlight=False, soft_wrap=True)
            if json_file is not None:  # after each size: a long run that is cut off leaves what it found
                write_json(json_file, document_of(reports))
    if growth and rates:
        console.print(growth_table(reports))
    if json_file is not None:
        console.print(f"Figures in {json_file}", markup=False, highlight=False, soft_wrap=True)


def bench_table(report: BenchReport) -> Group:
    """One line for each system and rate."""
    from services.recommendations.load_tests.processes import GATEWAY, STAGES
    from streamrec.command_line.tables import figure_text, table

    cells = []
    for row in report.rows():
        measured = report.loads[_system(row.system)][row.offered_rps]
        times = (row.p50_ms, row.p95_ms, row.p99_ms, row.p999_ms)
        cells.append(
            (
                row.system,
                f"{row.offered_rps:g}",
                f"{row.achieved_rps:.1f}",
                *(figure_text(time_ms, 1) for time_ms in times),
                str(row.errors),
                f"{row.degraded_share:.1%}",
                figure_text(row.cpu_ms_per_request, 1),
                figure_text(measured.cpu_ms_per_request(GATEWAY, STAGES), 1),
            )
        )
    return table(
        f"{report.items:,} items; milliseconds from the planned time of a request to its answer",
        (
            "system",
            "rps",
            "achieved",
            "p50",
            "p95",
            "p99",
            "p99.9",
            "errors",
            "degraded",
            "CPU ms",
            "replicas",
        ),
        cells,
    )


def growth_table(reports: Sequence[BenchReport]) -> Group:
    """How each system takes a growing catalogue."""
    from services.recommendations.load_tests.bench import growth_steps
    from streamrec.command_line.tables import figure_text, table

    return table(
        "Growth, at the highest rate; memory of the replicas",
        ("system", "items", "p50 ms", "p99 ms", "p99 to before", "MiB", "bytes an item more"),
        [
            (
                step.system,
                f"{step.items:,}",
                figure_text(step.p50_ms, 1),
                figure_text(step.p99_ms, 1),
                figure_text(step.p99_ratio, 2),
                f"{step.memory_mib:,.0f}",
                figure_text(step.bytes_per_item, 0),
            )
            for step in growth_steps(reports)
        ],
    )


def capacity_table(report: BenchReport, settings: BenchSettings) -> Group:
    """What each system sustains."""
    from streamrec.command_line.tables import table

    limits = settings.limits
    return table(
        f"Sustained: p99 <= {limits.p99_ms:g} ms, degraded <= {limits.degraded_share:.0%}",
        ("system", "rps"),
        [(str(system), f"{rps:.0f}") for system, rps in report.capacity_rps.items()],
    )


def _systems_of(names: str) -> tuple[System, ...]:
    from services.recommendations.load_tests.systems import System

    if not names:
        return tuple(System)
    return tuple(_system(name.strip()) for name in names.split(","))


def _system(name: str) -> System:
    from services.recommendations.load_tests.systems import System
    from streamrec.contracts.errors import InvalidInputError

    try:
        return System(name)
    except ValueError as error:
        raise InvalidInputError("--systems", f"{name!r} is none of {', '.join(System)}") from error
