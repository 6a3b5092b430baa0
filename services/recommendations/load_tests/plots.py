"""Plots of a load test: how long answers took, and what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from services.recommendations.load_tests.bench import BenchReport
from services.recommendations.load_tests.processes import DRIVER, GATEWAY, PROXY, RAY, STAGES
from services.recommendations.load_tests.systems import System

_COLORS: Final = {
    System.TOGETHER: "#3457d5",
    System.APART: "#7a4fc4",
    System.MONOLITH: "#1c2430",
    System.RAY_DEFAULTS: "#c8402f",
    System.EMPTY_GRAPH: "#2a9d76",
    System.EMPTY_HOP: "#c8772f",
}
_KIND_COLORS: Final = {
    GATEWAY: "#3457d5",
    STAGES: "#2a9d76",
    PROXY: "#c8772f",
    RAY: "#9aa3b2",
    DRIVER: "#d5d9e2",
}
_MUTED: Final = "#6b7688"
_GRID: Final = "#e6e9ef"
_DEADLINE_MS: Final = 100.0
_FEWEST_ABOVE: Final = 1e-4


def write_plots(report: BenchReport, folder: Path) -> list[Path]:
    """Write ``latency-RATE.png`` for each rate, and ``cpu.png``; return their paths."""
    rates = sorted({rps for by_rate in report.loads.values() for rps in by_rate})
    common = [rps for rps in rates if sum(rps in by_rate for by_rate in report.loads.values()) > 1]
    paths = [_latency(report, rps, folder / f"latency-{rps:g}.png") for rps in common or rates[:1]]
    if report.loads:
        paths.append(_cpu(report, folder / "cpu.png"))
    return paths


def _latency(report: BenchReport, rps: float, path: Path) -> Path:
    """Share of the answers that took longer, both axes logarithmic: the tail is what is promised."""
    figure = Figure(figsize=(8.0, 4.6), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for system, by_rate in report.loads.items():
        if rps in by_rate and by_rate[rps].waits_ms.size:
            waits_ms = np.sort(by_rate[rps].waits_ms)
            above = 1.0 - np.arange(len(waits_ms)) / len(waits_ms)
            axes.step(waits_ms, above, color=_COLORS[system], lw=1.6, where="post", label=system.value)
    axes.axvline(_DEADLINE_MS, color=_MUTED, lw=1, ls=(0, (4, 3)))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(_FEWEST_ABOVE, 1.0)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{100.0 * value:g} %"))
    axes.grid(color=_GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("milliseconds from planned time to answer")
    axes.set_ylabel("share of answers that took longer")
    axes.set_title(f"{report.items:,} items, {rps:g} requests a second", loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(path)
    return path


def _cpu(report: BenchReport, path: Path) -> Path:
    """Processor time of an answer by kind of process, at the highest rate that every system was put under."""
    shared = set.intersection(*(set(by_rate) for by_rate in report.loads.values()))
    chosen = {system: max(shared or by_rate) for system, by_rate in report.loads.items()}
    figure = Figure(figsize=(8.0, 1.4 + 0.45 * len(chosen)), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = [f"{system} at {rps:g} rps" for system, rps in chosen.items()]
    left = np.zeros(len(chosen))
    for kind, color in _KIND_COLORS.items():
        loads = [report.loads[system][rps] for system, rps in chosen.items()]
        widths = np.array([load.cpu_ms_per_request(kind) or 0.0 for load in loads])
        axes.barh(names, widths, left=left, color=color, height=0.6, label=kind)
        left += widths
    for place, total in enumerate(left.tolist()):
        axes.text(total, place, f" {total:.1f}", va="center", fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.grid(axis="x", color=_GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("processor milliseconds for an answer")
    axes.set_title(f"{report.items:,} items", loc="left", fontsize=11)
    figure.legend(frameon=False, fontsize=9, ncols=len(_KIND_COLORS), loc="outside lower center")
    figure.savefig(path)
    return path
