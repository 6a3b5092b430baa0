from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.evaluation.acceptance import DataSize, measure_bars
from services.recommendations.evaluation.distillation import Distillation
from services.recommendations.evaluation.index_search import IndexSearch
from services.recommendations.evaluation.sections import CoveragePoint, EvaluationSections
from services.recommendations.evaluation.short_histories import ShortHistories, ShortHistoryFigures
from services.recommendations.evaluation.slate_exposure import (
    SlateChange,
    SlateComparison,
    SlateFigures,
)
from streamrec.contracts.intervals import Interval, IntervalMethod
from streamrec.training.evaluation import ModelEvaluation
from streamrec.training.model_card import CallLatency

SMALL = DataSize(items=9_000, interactions=100_000)
MILLION = DataSize(items=3_416, interactions=999_611)
BASELINES = ("popularity", "itemknn", "ease")


def interval(value, width=0.01):
    return Interval(value, value - width, value + width, 0.95, IntervalMethod.PERCENTILE_BOOTSTRAP, 500)


def model(ndcg, *, hit=0.1, recall=0.5, width=0.01):
    metrics = {"hit@10": interval(hit), "ndcg@10": interval(ndcg, width), "recall@500": interval(recall)}
    return ModelEvaluation("test", np.arange(2), np.arange(2), 0, metrics, (), ())


def bars(evaluations=None, sections=None, size=SMALL):
    found = measure_bars(evaluations or {}, sections or EvaluationSections(), size, baselines=BASELINES)
    return {bar.name: bar for bar in found}


def latency(median_ms, p99_ms=0.9):
    return CallLatency("call", 100, median_ms, p99_ms)


def test_bars_of_what_was_not_evaluated_are_left_out():
    assert bars() == {}
    assert bars({"popularity": model(0.02)}) == {}


def test_retrieval_is_held_to_its_baselines():
    evaluations = {"ease": model(0.05, recall=0.6), "itemknn": model(0.04, hit=0.12)}
    found = bars({**evaluations, "two_tower": model(0.06, hit=0.11, recall=0.6)})
    assert found["recall@500 against ease"].met is True  # as good is enough
    assert found["hit@10 against itemknn"].met is False
    assert found["hit@10 against itemknn"].requirement == "at least 0.1200"


@pytest.mark.parametrize(
    ("ndcg", "width", "met"), [(0.0800, 0.005, True), (0.0800, 0.02, False), (0.0540, 0.001, False)]
)
def test_the_ranker_must_be_a_tenth_above_the_best_baseline_with_intervals_apart(ndcg, width, met):
    evaluations = {
        "popularity": model(0.02),
        "ease": model(0.05, width=0.01),
        "ranker": model(ndcg, width=width),
    }
    bar = bars(evaluations)["NDCG@10 against the best baseline, ease"]
    assert bar.met is met
    assert bar.requirement.startswith("at least 0.0550")


def test_published_figures_are_a_bar_for_data_of_that_size_alone():
    assert not any("1M" in name for name in bars({"ranker": model(0.18)}))
    found = bars({"ranker": model(0.18)}, size=MILLION)
    assert found["NDCG@10 at MovieLens-1M's size, goal"].met is False
    assert found["NDCG@10 at MovieLens-1M's size, floor"].met is True


def test_the_student_is_held_to_share_ratio_and_time():
    student = Distillation(interval(0.985), interval(0.0), latency(8.0), latency(1.0))
    found = bars(sections=EvaluationSections(student=student))
    assert [bar.met for bar in found.values()] == [True, True, True]
    slow = Distillation(interval(0.97), interval(0.0), latency(8.0), latency(3.5))
    assert [bar.met for bar in bars(sections=EvaluationSections(student=slow)).values()] == [False] * 3


def cold_start(gain):
    figures = ShortHistoryFigures(100, interval(0.05), interval(0.04), gain)
    return ShortHistories(figures, {0: figures})


def test_cold_start_is_held_to_its_gain_and_its_coverage():
    points = (CoveragePoint(0.5, interval(0.5, 0.1)), CoveragePoint(0.9, interval(0.94, 0.01)))
    found = bars(sections=EvaluationSections(cold_start=cold_start(interval(0.25, 0.2)), coverage=points))
    assert found["gain of 0 to 5 known over popularity per segment"].met is True
    assert found["coverage of 90% intervals"].met is False
    unknown = bars(sections=EvaluationSections(cold_start=cold_start(None)))
    bar = unknown["gain of 0 to 5 known over popularity per segment"]
    assert (bar.met, bar.figure) == (None, None)
    assert "too few" in bar.note


def slates(before, after, loss):
    def figures(gini):
        return SlateFigures(interval(gini), None, interval(0.1))

    change = SlateChange(100, figures(before), figures(after), interval(loss))
    return SlateComparison(change, None, None)


def test_exposure_and_loss_are_bars_where_the_traffic_is_like_ours():
    sections = EvaluationSections(slates=slates(0.48, 0.29, 0.03), reranking_latency=latency(0.2, p99_ms=1.2))
    found = bars(sections=sections)
    assert found["creator-language exposure Gini"].met is True
    assert found["share of NDCG@10 lost by re-ranking"].met is False
    assert found["99th percentile for 500 candidates, ms"].met is False
    elsewhere = bars(sections=EvaluationSections(slates=slates(0.97, 0.94, 0.0)))
    bar = elsewhere["creator-language exposure Gini"]
    assert (bar.met, bar.figure) == (None, 0.94)
    assert "0.97" in bar.note


def test_an_exact_index_is_not_measured_against_itself():
    exact = IndexSearch(9_000, True, interval(1.0, 0.0), latency(0.2), latency(0.2))
    found = bars(sections=EvaluationSections(index=exact))
    assert [bar.met for bar in found.values()] == [None, None]
    assert all("streamrec recommendations index tune" in bar.note for bar in found.values())
    lists = IndexSearch(200_000, False, interval(0.992, 0.001), latency(0.4), latency(1.5))
    assert [bar.met for bar in bars(sections=EvaluationSections(index=lists)).values()] == [True, True]


def test_a_bar_is_plain_json():
    bar = bars({"ease": model(0.05), "two_tower": model(0.06)})["recall@500 against ease"].to_json()
    assert bar == {
        "name": "recall@500 against ease",
        "group": "retrieval",
        "requirement": "at least 0.5000",
        "figure": 0.5,
        "interval": interval(0.5).to_json(),
        "met": True,
        "note": "",
        "applies": True,
    }
