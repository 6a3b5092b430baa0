"""The evaluation as one table: figures in groups, each bar beside the figure that it is for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from services.recommendations.evaluation.measured_elsewhere import OLD_POLICY, SERVED_POLICY
from streamrec.command_line.tables import figure_text, interval_text
from streamrec.training.baselines import BASELINES

_METRICS: Final = ("hit@10", "ndcg@10", "recall@500")
_VERDICTS: Final = {True: ("met", "green"), False: ("missed", "bold red"), None: ("not measured", "dim")}
_VALUES: Final = 3


@dataclass(frozen=True)
class _Section:
    """One group of rows: a head that names its columns, then figures, then the bars that they are held to."""

    title: str
    columns: tuple[str, str, str]
    rows: tuple[tuple[str, ...], ...]
    bars: tuple[Mapping[str, Any], ...]


def evaluation_table(report: Mapping[str, Any]) -> Group:
    """Build the table from the evaluation's JSON; sections that were not measured are left out."""
    shown = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    shown.add_column(overflow="fold")
    for _ in range(_VALUES):
        shown.add_column(justify="right", overflow="fold")
    for section in _sections(report):
        heads = (Text(name, style="dim") for name in section.columns)
        shown.add_row(Text(section.title, style="bold"), *heads)
        for row in section.rows:
            shown.add_row(*(escape(cell) for cell in row))
        for bar in section.bars:
            verdict, style = _VERDICTS[bar["met"]]
            name = Text(f"bar: {bar['name']}", style="italic")
            if bar["note"]:
                name.append(f" ({bar['note']})", style="dim not italic")
            shown.add_row(name, _bar_figure(bar), Text(bar["requirement"]), Text(verdict, style=style))
        shown.add_section()
    title = "Evaluation: leave-last-out, full ranking, seen items filtered; 95 % intervals over users"
    return Group(Text(title, style="bold"), shown)


def bars_summary(report: Mapping[str, Any]) -> str:
    """One line: how many bars are met, and which are missed."""
    bars = report["bars"]
    missed = [bar["name"] for bar in bars if bar["met"] is False]
    open_count = sum(bar["met"] is None for bar in bars)
    text = f"{sum(bar['met'] is True for bar in bars)} of {len(bars)} bars met"
    if missed:
        text += "; missed: " + "; ".join(missed)
    return text + (f"; not measured: {open_count}" if open_count else "")


def _sections(report: Mapping[str, Any]) -> Iterator[_Section]:
    models, bars = report["models"], report["bars"]

    def bars_of(group: str) -> tuple[Mapping[str, Any], ...]:
        return tuple(bar for bar in bars if bar["group"] == group)

    for title, names, group in (
        ("baselines", [name for name in models if name in BASELINES], ""),
        ("retrieval", ["two_tower"], "retrieval"),
        ("ranking, the teacher", ["ranker"], "ranking"),
        ("ranking, the student", ["student"], ""),
        ("whole pipeline", ["pipeline"], ""),
    ):
        rows = [_metric_row(name, models[name]) for name in names if name in models]
        if rows:
            yield _Section(title, _METRICS, tuple(rows), bars_of(group))
    if report.get("student"):
        yield _student(report["student"], bars_of("student"))
    if report.get("cold_start"):
        yield _cold_start(report["cold_start"], bars_of("cold start"))
    if report.get("reranking"):
        yield _reranking(report["reranking"], bars_of("re-ranking"))
    if report.get("closed_loop"):
        yield _closed_loop(report["closed_loop"], bars_of("closed loop"))
    if report.get("index") or report.get("index_tuning"):
        yield _index(report.get("index"), report.get("index_tuning"), bars_of("index"))


def _metric_row(name: str, metrics: Mapping[str, Any]) -> tuple[str, ...]:
    return (name.replace("_", "-"), *(interval_text(metrics.get(metric)) for metric in _METRICS))


def _student(student: Mapping[str, Any], bars: Sequence[Mapping[str, Any]]) -> _Section:
    teacher, small = student["teacher_latency"], student["student_latency"]
    return _Section(
        "distillation",
        ("teacher", "student", "student / teacher"),
        (
            ("share of NDCG@10", "", "", interval_text(student["ndcg@10_share"])),
            (
                "median ms, 500 candidates",
                figure_text(teacher["median_ms"]),
                figure_text(small["median_ms"]),
                figure_text(student["median_time_share"]),
            ),
            ("99th percentile ms", figure_text(teacher["p99_ms"]), figure_text(small["p99_ms"]), ""),
        ),
        tuple(bars),
    )


def _cold_start(cold_start: Mapping[str, Any], bars: Sequence[Mapping[str, Any]]) -> _Section:
    figures = {
        **{f"{length} known": f for length, f in cold_start["by_history_length"].items()},
        "0 to 5 known, together": cold_start["overall"],
    }
    rows = [
        (
            f"{name} (n = {found['cases']:,})",
            interval_text(found["ndcg@10"]),
            interval_text(found["ndcg@10_popularity_per_segment"]),
            _percent_interval(found["gain"], signed=True),
        )
        for name, found in figures.items()
    ]
    rows += [
        (
            f"coverage, nominal {point['nominal']:.0%}",
            interval_text(point["empirical"]),
            "",
            "",
        )
        for point in cold_start["coverage"]
    ]
    return _Section(
        "cold start, NDCG@10", ("model", "popularity per segment", "gain"), tuple(rows), tuple(bars)
    )


def _reranking(reranking: Mapping[str, Any], bars: Sequence[Mapping[str, Any]]) -> _Section:
    rows = _slate_rows(reranking, "")
    for part in ("whole_histories", "shortened_histories"):
        if reranking[part]:
            name = f"{part.replace('_', ' ')}: "
            rows += _slate_rows(reranking[part], name)
    if reranking.get("gini_bound") is not None:
        loss = f"{reranking['maximum_relevance_loss']:.0%}"
        rows.append((f"lowest Gini there is at {loss} loss", "", figure_text(reranking["gini_bound"]), ""))
    latency = reranking["latency"]
    if latency is not None:
        text = f"{latency['median_ms']:.3f}, {latency['p99_ms']:.3f}"
        rows.append(("ms for 500: median, p99", "", text, ""))
    title = f"re-ranking, all traffic (n = {reranking['users']:,})"
    return _Section(title, ("relevance order", "re-ranked", "change"), tuple(rows), tuple(bars))


def _slate_rows(change: Mapping[str, Any], prefix: str) -> list[tuple[str, ...]]:
    before, after = change["before"], change["after"]
    lost = _percent_interval(change["ndcg@10_loss"], signed=True)
    return [
        (
            f"{prefix}language Gini",
            interval_text(before["creator_language_gini"]),
            interval_text(after["creator_language_gini"]),
            "",
        ),
        (
            f"{prefix}NDCG@10, lost",
            interval_text(before["ndcg@10"]),
            interval_text(after["ndcg@10"]),
            lost,
        ),
        *(
            (f"{prefix}{name}", figure_text(before[key]), figure_text(after[key]), "")
            for name, key in (("creator Gini", "creator_gini"), ("creators shown", "exposed_creators_share"))
            if not prefix
        ),
    ]


def _closed_loop(arms: Mapping[str, Any], bars: Sequence[Mapping[str, Any]]) -> _Section:
    served, old = arms[SERVED_POLICY], arms.get(OLD_POLICY)
    rows = [
        (
            "seven-day churn of new users",
            _percent_interval(old["summary"]["seven_day_churn"]) if old else "-",
            _percent_interval(served["summary"]["seven_day_churn"]),
            _percent_interval(served["churn_against_old"], signed=True),
        )
    ]
    rows += [
        (f"regret a page against '{name}'", "", interval_text(regret), "")
        for name, regret in served["regret_per_page"].items()
    ]
    columns = ("old policy", "as served", "change")
    title = f"closed loop (n = {served['summary']['new_users']:,} an arm)"
    return _Section(title, columns, tuple(rows), tuple(bars))


def _index(
    index: Mapping[str, Any] | None, tuning: Mapping[str, Any] | None, bars: Sequence[Mapping[str, Any]]
) -> _Section:
    rows: list[tuple[str, ...]] = []
    if index:
        name = f"{index['items']:,} items{', exact' if index['is_exact'] else ''}"
        exact, served = index["exact_latency"], index["latency"]
        rows.append(_index_row(name, exact, served, index["median_time_share"]))
        rows.append(("recall@500", "1", interval_text(index["recall@500"]), ""))
    if tuning:
        name = f"{tuning['item_count']:,} items, {tuning['chosen']['kind'].replace('_', ' ')}"
        rows.append(_index_row(name, tuning["exact"], tuning["chosen"], tuning["time_share_of_exact"]))
        rows.append(("recall@500", "1", interval_text(tuning["chosen"]["recall"]), ""))
    return _Section("index", ("exact search", "chosen", "chosen / exact"), tuple(rows), tuple(bars))


def _index_row(
    name: str, exact: Mapping[str, Any], served: Mapping[str, Any], share: float
) -> tuple[str, ...]:
    median_ms = (figure_text(exact["median_ms"]), figure_text(served["median_ms"]), figure_text(share))
    return (f"{name}: median ms", *median_ms)


def _bar_figure(bar: Mapping[str, Any]) -> Text:
    return Text(interval_text(bar["interval"] or {"value": bar["figure"]}))


def _percent_interval(interval: Mapping[str, Any] | None, *, signed: bool = False) -> str:
    if interval is None:
        return "-"
    sign, digits = "+" if signed else "", 0 if abs(interval["value"]) >= 1.0 else 1
    value, low, high = (f"{interval[name]:{sign}.{digits}%}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"
