"""The HTML report: one file that works offline, every figure of it from `summary.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2

from services.cli.demo import plots
from services.cli.demo.summary import loop_rows
from services.recommendations.evaluation.plots import groups_by_model
from streamrec.command_line.files import write_text

_TEMPLATE_FOLDER: Final = Path(__file__).parent
_TEMPLATE: Final = "report.html.j2"
_BREAKDOWN_METRIC: Final = "ndcg@10"
_BREAKDOWN_LANGUAGES: Final = 8
_DASH: Final = "–"  # noqa: RUF001 - the typographic dash stands for "no figure"


def render_report(summary: Mapping[str, Any]) -> str:
    """Render the report.

    Args:
        summary: What `summary.json` holds. Parts that a run could not produce may be missing or None; the
            report then says so.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATE_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": _count,
        "percent": _percent,
        "figure": _figure,
        "ms": _milliseconds,
        "seconds": _seconds,
    }
    return environment.get_template(_TEMPLATE).render(
        s=summary,
        plot=_plots(summary),
        breakdown_metric=_BREAKDOWN_METRIC.upper(),
        loop_rows=loop_rows(summary["loop"]),
    )


def write_report(summary: Mapping[str, Any], path: Path) -> None:
    """Render and write the report; the file at ``path`` is replaced in one step."""
    write_text(path, render_report(summary))


def _plots(summary: Mapping[str, Any]) -> dict[str, str | None]:
    served = summary["served"]
    histogram = summary["latency_histogram"]
    languages = summary["exposure"]["languages"]
    models, breakdowns = summary["offline"]["models"], summary["offline"]["breakdowns"]
    sections = dict.fromkeys(("cold_start", "calibration", "frontier", "learning_curve"))
    return {
        **sections,
        **plots.section_plots(summary["offline"]),
        "offline": plots.offline_plot(models) if models else None,
        "latency": plots.latency_plot(histogram["edges_ms"], histogram["counts"], served)
        if histogram["counts"]
        else None,
        "stages": plots.stages_plot(summary["stages"], served) if histogram["counts"] else None,
        "exposure": plots.exposure_plot(languages) if languages else None,
        "by_history_length": _breakdown(breakdowns.get("history_length")),
        "by_language": _breakdown(breakdowns.get("creator_language"), _BREAKDOWN_LANGUAGES),
    }


def _breakdown(by_model: Mapping[str, Any] | None, limit: int | None = None) -> str | None:
    groups = groups_by_model(by_model or {}, _BREAKDOWN_METRIC, limit)
    return plots.breakdown_plot(groups, _BREAKDOWN_METRIC.upper()) if groups else None


def _count(value: float | None) -> str:
    return _DASH if value is None else f"{value:,.0f}"


def _percent(value: float | None, digits: int = 1) -> str:
    return _DASH if value is None else f"{100 * value:.{digits}f} %"


def _figure(value: float | None, digits: int = 4) -> str:
    return _DASH if value is None else f"{value:.{digits}f}"


def _milliseconds(value: float | None) -> str:
    return _DASH if value is None else f"{value:.1f} ms"


def _seconds(value: float | None) -> str:
    if value is None:
        return _DASH
    return f"{value:.1f} s" if value < 60 else f"{int(value // 60)} min {value % 60:.0f} s"
