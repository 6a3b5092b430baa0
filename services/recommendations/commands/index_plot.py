"""The plot of `streamrec recommendations index tune`: what each index finds, and how long it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from services.recommendations.item_index.settings import IndexKind
from services.recommendations.item_index.tuning_report import TuningReport
from streamrec.contracts.errors import InvalidInputError

_COLORS: Final = {
    IndexKind.EXACT: "#1c2430",
    IndexKind.IVF_FLAT: "#3457d5",
    IndexKind.IVF_SQ8: "#2a9d76",
    IndexKind.HNSW: "#c8772f",
}
_MUTED: Final = "#6b7688"
_GRID: Final = "#e6e9ef"


def write_tuning_plot(report: TuningReport, path: Path) -> None:
    """Draw missed share (logarithmic, less is up) against the median time, one line for each index built.

    Raises:
        InvalidInputError: The file cannot be written.
    """
    figure = Figure(figsize=(8.0, 4.6), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_yscale("log")
    axes.set_xscale("log")
    # Exact search misses nothing, which a logarithm cannot show: it stands at the upper edge.
    least = min((1 - m.recall.value for m in report.measurements if m.recall.value < 1), default=1e-3) / 2
    lines: dict[tuple[IndexKind, int, float], list[tuple[float, float]]] = {}
    for measurement in report.measurements:
        settings = measurement.settings
        build = settings.list_count if "list_count" in measurement.parameters else settings.neighbour_count
        point = (measurement.median_ms, max(1 - measurement.recall.value, least))
        lines.setdefault((settings.kind, build, settings.rescored_share), []).append(point)
    labelled: set[IndexKind] = set()
    for (kind, _, _), points in lines.items():
        times_ms, missed = zip(*sorted(points), strict=True)
        label = None if kind in labelled else kind.value.replace("_", " ").upper()
        labelled.add(kind)
        axes.plot(times_ms, missed, "o-", color=_COLORS[kind], lw=1.0, ms=4.5, alpha=0.75, label=label)
    axes.axhline(1 - report.limits.minimum_recall, color=_MUTED, lw=1, ls=(0, (4, 3)))
    chosen = report.chosen
    axes.plot(
        chosen.median_ms,
        max(1 - chosen.recall.value, least),
        "*",
        color="#c8402f",
        ms=15,
        label=f"chosen: {chosen.label}",
    )
    axes.invert_yaxis()
    axes.yaxis.set_major_formatter(FuncFormatter(lambda missed, _: f"{1 - missed:.4g}"))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda time_ms, _: f"{time_ms:g}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.set_xlabel("median of one query, ms, one thread", color=_MUTED)
    axes.set_ylabel(f"recall@{report.limits.candidate_count} against exact search", color=_MUTED)
    axes.set_title(
        f"{report.item_count:,} items, {report.dimension} dimensions", loc="left", weight="bold", fontsize=11
    )
    axes.grid(color=_GRID)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, fontsize=8.5, loc="lower right")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except OSError as error:
        raise InvalidInputError(str(path), f"cannot be written ({error.strerror})") from error
