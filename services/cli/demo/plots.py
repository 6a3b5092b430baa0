"""The report's plots: figures from the summary in, PNG bytes as a data URI out."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from services.recommendations.evaluation.plots import (
    ACCENT,
    ACCENT_LIGHT,
    INK,
    MUTED,
    NEUTRAL,
    STYLE,
    WARNING,
    breakdown_figure,
    evaluation_figures,
    new_figure,
    png_bytes,
    ranking_figure,
)

_MAXIMUM_LANGUAGES: Final = 16


def offline_plot(models: Mapping[str, Mapping[str, Any]]) -> str:
    """Dots with 95 % intervals: one row a model, one panel a metric."""
    with mpl.rc_context(STYLE):
        return _data_uri(ranking_figure(models))


def breakdown_plot(groups: Mapping[str, Mapping[str, Any]], axis_title: str) -> str:
    """Dots with intervals of one metric, one row a group of users, one colour a model.

    Args:
        groups: Interval by model by group, in the order to be shown.
        axis_title: Name of the metric.
    """
    with mpl.rc_context(STYLE):
        return _data_uri(breakdown_figure(groups, axis_title))


def section_plots(evaluation: Mapping[str, Any]) -> dict[str, str]:
    """Cold start, calibration, frontier and learning curve: those that the evaluation has figures for."""
    shown = {"cold_start", "calibration", "frontier", "learning_curve"}
    sections = {key: value for key, value in evaluation.items() if key not in ("models", "breakdowns")}
    return {name: _data_uri(figure) for name, figure in evaluation_figures(sections).items() if name in shown}


def latency_plot(edges_ms: Sequence[float], counts: Sequence[int], served: Mapping[str, Any]) -> str:
    """Histogram of the latency at the client, with its percentiles and the budget."""
    with mpl.rc_context(STYLE):
        figure, (axes,) = new_figure(6.4, 3.1)
        widths = [right - left for left, right in itertools.pairwise(edges_ms)]
        axes.bar(edges_ms[:-1], counts, widths, align="edge", color=ACCENT_LIGHT, edgecolor="white", lw=0.6)
        top = max(counts, default=1) * 1.22
        for rank, name in enumerate(("p50", "p95", "p99")):
            value = served.get(f"{name}_ms")
            if value is None:
                continue
            axes.axvline(value, color=ACCENT, lw=1.2, ls=(0, (4, 2)))
            axes.annotate(
                f"{name} {value:.0f} ms", (value, top * (0.97 - 0.085 * rank)), (4, 0),
                textcoords="offset points", color=ACCENT, fontsize=8.5, va="top",
            )  # fmt: skip
        _budget_line(axes, served["budget_ms"])
        axes.set_ylim(0, top)
        axes.set_xlim(0, max(edges_ms[-1] if edges_ms else 0.0, served["budget_ms"]) * 1.1)
        axes.set_xlabel("latency at the client, ms")
        axes.set_ylabel("requests")
        axes.grid(axis="x", visible=False)
        return _data_uri(figure)


def stages_plot(stages: Mapping[str, Mapping[str, Any]], served: Mapping[str, Any]) -> str:
    """Bars of each stage's percentiles, and of the whole request."""
    rows = {**stages, "whole request": served}
    names = [name for name, figures in rows.items() if figures.get("p99_ms") is not None]
    with mpl.rc_context(STYLE):
        figure, (axes,) = new_figure(6.4, max(3.1, 0.9 + 0.4 * len(names)))
        for row, name in enumerate(names):
            figures = rows[name]
            for percentile, color, height in (("p99_ms", ACCENT_LIGHT, 0.62), ("p50_ms", ACCENT, 0.62)):
                axes.barh(row, figures[percentile], height, color=color)
            axes.plot([figures["p95_ms"]] * 2, [row - 0.31, row + 0.31], color=INK, lw=1.4)
            axes.annotate(
                f"{figures['p50_ms']:.1f} / {figures['p95_ms']:.1f} / {figures['p99_ms']:.1f}",
                (figures["p99_ms"], row), (5, 0), textcoords="offset points", va="center",
                fontsize=8.5, color=MUTED,
            )  # fmt: skip
        _budget_line(axes, served["budget_ms"])
        longest = max((rows[name]["p99_ms"] for name in names), default=0.0)
        axes.set_xlim(0, max(longest * 1.28, served["budget_ms"] * 1.12))
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel("ms: p50 dark, p95 mark, p99 light")
        axes.grid(axis="y", visible=False)
        return _data_uri(figure)


def exposure_plot(languages: Sequence[Mapping[str, Any]]) -> str:
    """Share of exposure by creator language: relevance order, served slates, and the catalogue as a mark."""
    shown = sorted(languages, key=lambda row: -row["served_share"])[:_MAXIMUM_LANGUAGES]
    before_known = any(row["relevance_order_share"] is not None for row in shown)
    # Before and after are of the same users; without a before, the bars are of all answers.
    after = "same_users_served_share" if before_known else "served_share"
    with mpl.rc_context(STYLE):
        figure, (axes,) = new_figure(10.5, 1.2 + 0.36 * max(2, len(shown)))
        for row, language in enumerate(shown):
            offset = 0.19 if before_known else 0.0
            if before_known:
                axes.barh(
                    row - offset, 100 * language["relevance_order_share"], 0.34, color=NEUTRAL,
                    label="relevance order, before re-ranking" if row == 0 else None,
                )  # fmt: skip
            axes.barh(
                row + offset, 100 * language[after], 0.34, color=ACCENT,
                label="served, after re-ranking" if row == 0 else None,
            )  # fmt: skip
            axes.plot(
                [100 * language["catalogue_share"]] * 2, [row - 0.4, row + 0.4], color=WARNING, lw=1.6,
                label="share of the catalogue" if row == 0 else None,
            )  # fmt: skip
        axes.set_yticks(range(len(shown)), [str(row["language"]) for row in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.set_xlabel("% of the items shown")
        axes.grid(axis="y", visible=False)
        axes.legend(loc="lower right", frameon=False, fontsize=9)
        return _data_uri(figure)


def _budget_line(axes: Axes, budget_ms: float) -> None:
    axes.axvline(budget_ms, color=WARNING, lw=1.4)
    axes.annotate(
        f"budget {budget_ms:.0f} ms", (budget_ms, 1.0), (-4, 2), xycoords=("data", "axes fraction"),
        textcoords="offset points", ha="right", va="bottom", color=WARNING, fontsize=8.5,
    )  # fmt: skip


def _data_uri(figure: Figure) -> str:
    return "data:image/png;base64," + base64.b64encode(png_bytes(figure)).decode("ascii")
