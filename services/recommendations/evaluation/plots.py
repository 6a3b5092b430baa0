"""The evaluation's plots: its JSON in, Matplotlib figures out, PNG files where a folder is named."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from services.recommendations.evaluation.acceptance import (
    COVERAGE_NOMINAL,
    COVERAGE_RANGE,
    LANGUAGE_GINI,
    RELEVANCE_LOSS,
)
from streamrec.contracts.errors import InvalidInputError
from streamrec.training.baselines import BASELINES

INK: Final = "#1c2430"
MUTED: Final = "#6b7688"
GRID: Final = "#e6e9ef"
ACCENT: Final = "#3457d5"
ACCENT_LIGHT: Final = "#a9b9f2"
NEUTRAL: Final = "#9aa5b5"
WARNING: Final = "#c8402f"
GREYS: Final = ("#c3cad5", "#9aa5b5", "#78869a", "#566377")
COLORS: Final = ("#2a9d8f", "#3457d5", "#c2477f", "#d98324")

STYLE: Final[dict[Any, Any]] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}

_MAXIMUM_GROUPS: Final = 12
_NDCG: Final = "ndcg@10"
_METRICS: Final = (("hit@10", "Hit@10"), (_NDCG, "NDCG@10"), ("recall@500", "Recall@500"))
_METHODS: Final = {"ours": "this re-ranker", "greedy_mmr": "greedy MMR with a language bonus"}


def evaluation_figures(report: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw what the report has figures for, by file name without its ending.

    Args:
        report: What `EvaluationReport.to_json` returns.
    """
    reranking, cold_start = report.get("reranking") or {}, report.get("cold_start") or {}
    languages = groups_by_model(
        report.get("breakdowns", {}).get("creator_language", {}), _NDCG, _MAXIMUM_GROUPS
    )
    drawn: dict[str, tuple[Any, Callable[[], Figure]]] = {
        "ranking_metrics": (report.get("models"), lambda: ranking_figure(report["models"])),
        "ndcg_by_creator_language": (
            languages,
            lambda: breakdown_figure(
                languages, "NDCG@10", "NDCG@10 by creator language of the held-out item"
            ),
        ),
        "cold_start": (cold_start, lambda: cold_start_figure(cold_start)),
        "calibration": (cold_start.get("coverage"), lambda: calibration_figure(cold_start["coverage"])),
        "frontier": (reranking.get("frontier"), lambda: frontier_figure(reranking)),
        "learning_curve": (
            report.get("learning_curves"),
            lambda: learning_curve_figure(report["learning_curves"]),
        ),
    }
    with mpl.rc_context(STYLE):
        return {name: draw() for name, (figures, draw) in drawn.items() if figures}


def save_plots(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the report into ``folder`` as PNG files, which replace those of the same name.

    Raises:
        InvalidInputError: The folder cannot be written.
    """
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in evaluation_figures(report).items():
            path = folder / f"{name}.png"
            path.write_bytes(png_bytes(figure))
            paths.append(path)
    except OSError as error:
        raise InvalidInputError(str(folder), f"cannot be written ({error.strerror})") from error
    return paths


def png_bytes(figure: Figure) -> bytes:
    """The figure as a PNG file; the same figure, the same bytes."""
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=170, metadata={"Software": None})
    return buffer.getvalue()


def new_figure(
    width: float, height: float, *, columns: int = 1, sharey: bool = False
) -> tuple[Figure, tuple[Axes, ...]]:
    """Return an empty figure of one row of panels; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(1, columns, sharey=sharey, squeeze=False)
    return figure, tuple(grid[0])


def ranking_figure(models: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Dots with 95 % intervals: one row a model, one panel a metric."""
    names = list(models)
    figure, panels = new_figure(10.5, 0.9 + 0.38 * max(len(names), 2), columns=len(_METRICS), sharey=True)
    for axes, (metric, title) in zip(panels, _METRICS, strict=True):
        for row, name in enumerate(names):
            color = NEUTRAL if name in BASELINES else ACCENT
            _interval(axes, models[name].get(metric), row, color, width=2.4, size=6.5)
        axes.set_title(title)
        _rows(axes, [name.replace("_", "-") for name in names])
    return figure


def breakdown_figure(groups: Mapping[str, Mapping[str, Any]], axis_title: str, title: str = "") -> Figure:
    """Dots with intervals of one metric, one row a group of users, one colour a model.

    Args:
        groups: Interval by model by group, in the order to be shown.
        axis_title: Name of the metric.
        title: Of the plot.
    """
    names = list(groups)
    models = list(dict.fromkeys(model for figures in groups.values() for model in figures))
    shades, spread = _shades(models), 0.62
    height = 1.1 + max(2, len(names)) * max(0.36, 0.115 * len(models)) + (0.3 if title else 0.0)
    figure, (axes,) = new_figure(5.6, height)
    for row, name in enumerate(names):
        for place, model in enumerate(models):
            y = row + spread * ((place + 0.5) / len(models) - 0.5)
            label = model.replace("_", "-") if row == 0 else None
            _interval(axes, groups[name].get(model), y, shades[model], label=label)
    _rows(axes, names)
    axes.set_xlabel(axis_title)
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=4, frameon=False, fontsize=8.5,
        handletextpad=0.2, columnspacing=1.0,
    )  # fmt: skip
    if title:
        figure.suptitle(title, x=0.02, ha="left", fontsize=11, fontweight="bold")
    return figure


def cold_start_figure(cold_start: Mapping[str, Any]) -> Figure:
    """NDCG@10 by the number of interactions that are known, beside popularity per segment."""
    lengths = cold_start["by_history_length"]
    figure, (axes,) = new_figure(6.4, 3.4)
    series = (
        ("ndcg@10_popularity_per_segment", "popularity per segment", NEUTRAL),
        (_NDCG, "cold-start model", ACCENT),
    )
    for (metric, label, color), offset in zip(series, (-0.04, 0.04), strict=True):  # side by side
        points = [(int(length) + offset, figures[metric]) for length, figures in lengths.items()]
        _errors(axes, points, color, label)
    axes.set_title("Next item from a history cut short")
    axes.set_xlabel("interactions known")
    axes.set_ylabel("NDCG@10")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9)
    return figure


def calibration_figure(coverage: Sequence[Mapping[str, Any]]) -> Figure:
    """Nominal against empirical coverage of predictive intervals, in percent."""
    figure, (axes,) = new_figure(4.8, 4.4)
    nominal = [100 * point["nominal"] for point in coverage]
    ends = [min(nominal) - 4, 100]
    axes.plot(ends, ends, color=NEUTRAL, lw=1.2, label="perfect calibration")
    low, high = COVERAGE_RANGE
    axes.plot(
        [100 * COVERAGE_NOMINAL] * 2, [100 * low, 100 * high], color=WARNING, lw=7, alpha=0.35,
        solid_capstyle="butt", label=f"wanted at {COVERAGE_NOMINAL:.0%}",
    )  # fmt: skip
    points = [
        (100 * point["nominal"], {key: 100 * point["empirical"][key] for key in ("value", "low", "high")})
        for point in coverage
    ]
    _errors(axes, points, ACCENT, "measured, 95 % interval", line=False)
    axes.set_title("Calibration of predictive intervals")
    axes.set_xlabel("nominal coverage, %")
    axes.set_ylabel("outcomes inside, %")
    axes.legend(frameon=False, fontsize=9)
    return figure


def frontier_figure(reranking: Mapping[str, Any]) -> Figure:
    """NDCG@10 against the exposure Gini, one point a diversity weight; beside it the paired distance."""
    advantages = reranking.get("advantages") or []
    figure, (axes, *beside) = new_figure(10.5 if advantages else 7.2, 4.6, columns=2 if advantages else 1)
    for method, color in zip(reranking["frontier"], (ACCENT, COLORS[3], COLORS[0]), strict=False):
        points = sorted(reranking["frontier"][method], key=lambda point: point["weight"])
        intervals = [(point["gini"], point[_NDCG]) for point in points]
        _errors(axes, intervals, color, _METHODS.get(method, method.replace("_", " ")))
        strongest = points[-1]
        axes.annotate(
            f"weight {strongest['weight']:g}", (strongest["gini"], strongest[_NDCG]["value"]), (5, -11),
            textcoords="offset points", fontsize=8, color=color,
        )  # fmt: skip
    axes.axvline(LANGUAGE_GINI, color=WARNING, lw=1.2, ls=(0, (4, 2)), label=f"target {LANGUAGE_GINI:.2f}")
    before = (reranking.get("before") or {}).get(_NDCG)
    if before is not None:
        axes.axhline(
            (1.0 - RELEVANCE_LOSS) * before["value"], color=MUTED, lw=1.2, ls=(0, (1, 2)),
            label=f"relevance order less {RELEVANCE_LOSS:.0%}",
        )  # fmt: skip
    axes.set_title("Exposure against relevance")
    axes.set_xlabel("creator-language exposure Gini (left is more equal)")
    axes.set_ylabel("NDCG@10, 95 % interval")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False, fontsize=8.5)
    for panel in beside:
        gains = [(point["gini"], point[_NDCG]) for point in advantages]
        panel.axhline(0.0, color=MUTED, lw=1.2)
        _errors(panel, gains, ACCENT, "", line=False)
        panel.set_title("NDCG@10 above greedy MMR at equal Gini")
        panel.set_xlabel("creator-language exposure Gini")
        panel.set_ylabel("difference in NDCG@10, paired 95 % interval")
    return figure


def learning_curve_figure(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Validation NDCG and training loss by epoch, one colour a model, one line a phase."""
    figure, panels = new_figure(9.0, 3.5, columns=2)
    for axes, value, title in zip(
        panels,
        ("validation_ndcg", "loss"),
        ("NDCG on validation items", "Training loss"),
        strict=True,
    ):
        for place, (model, points) in enumerate(curves.items()):
            color = COLORS[place % len(COLORS)]
            numbered = list(enumerate(points, start=1))
            for style, phase in zip(
                ("-", "--", ":", "-.") * 8, dict.fromkeys(point["phase"] for point in points), strict=False
            ):
                shown = [(n, p[value]) for n, p in numbered if p["phase"] == phase and p[value] is not None]
                if shown:
                    label = f"{model.replace('_', '-')} {phase}".strip()
                    axes.plot(*zip(*shown, strict=True), style, marker="o", ms=3.5, lw=1.6, color=color,
                              label=label)  # fmt: skip
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8.5)
    return figure


def groups_by_model(
    by_model: Mapping[str, Any], metric: str, limit: int | None = None
) -> dict[str, dict[str, Any]]:
    """Turn groups by model into intervals by model by group, in order; groups without figures are left out.

    Args:
        by_model: A part of ``breakdowns`` of the evaluation's JSON.
        metric: Which.
        limit: Most groups.
    """
    chosen: dict[str, dict[str, Any]] = {}
    sizes: dict[str, int] = {}
    for model, groups in by_model.items():
        for name, group in groups.items():
            if group["metrics"] is not None:
                chosen.setdefault(name, {})[model] = group["metrics"][metric]
                sizes[name] = max(group["count"], sizes.get(name, 0))
    return {f"{name} (n = {sizes[name]:,})": figures for name, figures in list(chosen.items())[:limit]}


def _interval(
    axes: Axes,
    interval: Mapping[str, Any] | None,
    y: float,
    color: str,
    *,
    width: float = 1.6,
    size: float = 4.6,
    label: str | None = None,
) -> None:
    if interval and interval.get("value") is not None:
        axes.plot([interval["low"], interval["high"]], [y, y], color=color, lw=width, alpha=0.5)
        axes.plot(interval["value"], y, "o", color=color, ms=size, label=label)


def _errors(
    axes: Axes,
    points: Sequence[tuple[float, Mapping[str, float]]],
    color: str,
    label: str,
    *,
    line: bool = True,
) -> None:
    for x, interval in points:
        axes.plot([x, x], [interval["low"], interval["high"]], color=color, lw=1.6, alpha=0.4)
    axes.plot(
        [x for x, _ in points], [interval["value"] for _, interval in points], "o-" if line else "o",
        color=color, lw=1.6, ms=4.8, label=label,
    )  # fmt: skip


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.grid(axis="y", visible=False)


def _shades(models: Sequence[str]) -> dict[str, str]:
    shades: dict[str, str] = {}
    for model in models:
        palette = GREYS if model in BASELINES else COLORS
        used = sum((known in BASELINES) == (model in BASELINES) for known in shades)
        shades[model] = palette[used % len(palette)]
    return shades
