from __future__ import annotations

import io

import pytest
from rich.console import Console

from services.recommendations.commands.evaluation_tables import bars_summary, evaluation_table


def interval(value):
    return {"value": value, "low": value / 2, "high": 2 * value}


def metrics(value):
    return {"hit@10": interval(2 * value), "ndcg@10": interval(value), "recall@500": interval(4 * value)}


def bar(name, group, met, note=""):
    figure = None if met is None else 0.5
    return {
        "name": name,
        "group": group,
        "requirement": "at least 0.4",
        "figure": figure,
        "interval": None if figure is None else {"value": figure, "low": figure, "high": figure},
        "met": met,
        "note": note,
        "applies": True,
    }


def latency(median_ms):
    return {"call": "call", "count": 10, "median_ms": median_ms, "p99_ms": 2 * median_ms}


@pytest.fixture
def report():
    short = {
        "cases": 60,
        "ndcg@10": interval(0.05),
        "ndcg@10_popularity_per_segment": interval(0.04),
        "gain": interval(0.25),
    }
    slates = {
        "creator_language_gini": interval(0.48),
        "creator_gini": 0.911,
        "exposed_creators_share": 0.222,
        "ndcg@10": interval(0.1),
    }
    after = {**slates, "creator_language_gini": interval(0.29)}
    return {
        "models": {
            name: metrics(0.05) for name in ("popularity", "two_tower", "ranker", "student", "pipeline")
        },
        "student": {
            "ndcg@10_share": interval(0.99),
            "teacher_latency": latency(8.0),
            "student_latency": latency(1.5),
            "median_time_share": 0.1875,
        },
        "cold_start": {
            "overall": short,
            "by_history_length": {"0": {**short, "gain": None}, "5": short},
            "coverage": [{"nominal": 0.9, "empirical": {"value": 0.905, "low": 0.89, "high": 0.92}}],
        },
        "reranking": {
            "users": 900,
            "before": slates,
            "after": after,
            "ndcg@10_loss": interval(0.01),
            "latency": latency(0.2),
            "gini_bound": 0.256,
            "maximum_relevance_loss": 0.02,
            "whole_histories": {"users": 600, "before": slates, "after": after, "ndcg@10_loss": None},
            "shortened_histories": None,
        },
        "closed_loop": {
            "old policy": {"summary": {"seven_day_churn": interval(0.42), "new_users": 20_000}},
            "pipeline as served": {
                "summary": {"seven_day_churn": interval(0.345), "new_users": 20_000},
                "churn_against_old": interval(-0.075),
                "regret_per_page": {"knows every taste": interval(0.123)},
            },
        },
        "index_tuning": {
            "item_count": 200_000,
            "chosen": {"kind": "ivf_sq8", "recall": interval(0.991), "median_ms": 0.4, "p99_ms": 0.9},
            "exact": {"median_ms": 1.6},
            "time_share_of_exact": 0.25,
        },
        "index": {
            "items": 9_125,
            "is_exact": True,
            "recall@500": interval(1.0),
            "latency": latency(0.15),
            "exact_latency": latency(0.15),
            "median_time_share": 1.0,
        },
        "bars": [
            bar("recall bar", "retrieval", True),
            bar("gain [bold]bar[/bold]", "cold start", False, "a [red]note[/red]"),
            bar("index bar", "index", None, "exact"),
        ],
    }


def shown(report, width=120):
    text = io.StringIO()
    Console(file=text, width=width).print(evaluation_table(report))
    return text.getvalue()


def test_one_table_shows_every_section_with_its_bars(report):
    text = shown(report)
    lines = text.splitlines()
    order = ["baselines", "retrieval", "ranking, the teacher", "ranking, the student", "whole pipeline",
             "distillation", "cold start", "re-ranking", "closed loop", "index"]  # fmt: skip
    places = [next(n for n, line in enumerate(lines) if line.strip().startswith(head)) for head in order]
    assert places == sorted(places)
    for figure in (
        "0.0500 (0.0250-0.1000)",
        "0.188",
        "+25.0%",
        "0.911",
        "0.9050",
        "9,125 items, exact",
        "34.5%",
        "-7.5%",
        "0.256",
        "200,000 items, ivf sq8",
        "0.9910",
        "20,000 an arm",
    ):
        assert figure in text, figure
    retrieval = next(line for line in lines if "bar: recall bar" in line)
    assert "0.5000" in retrieval
    assert "at least 0.4" in retrieval
    assert retrieval.rstrip().endswith("met")
    assert "missed" in text
    assert "not measured" in text
    assert max(map(len, lines)) <= 120


def test_names_are_plain_text(report):
    text = shown(report)
    assert "[bold]" in text
    assert "[red]note[/red]" in text.replace("\n", "").replace(" ", "") or "[red]" in text


def test_sections_that_were_not_measured_are_left_out():
    sparse = {"models": {"ease": metrics(0.1)}, "bars": [], "cold_start": None, "reranking": None}
    text = shown(sparse)
    assert "ease" in text
    assert "cold start" not in text


def test_the_summary_counts_bars_and_names_the_missed(report):
    text = bars_summary(report)
    assert text.startswith("1 of 3 bars met; missed: gain")
    assert text.endswith("not measured: 1")
    assert bars_summary({"bars": []}) == "0 of 0 bars met"
