from __future__ import annotations

import json

import numpy as np
import pytest

from services.cli.demo.measurements import (
    RequestRecord,
    exposure_gini,
    language_exposure,
    latency_histogram,
    latency_percentiles,
    served_figures,
    share_interval,
    stage_figures,
)


def record(latency_ms=10.0, **changes):
    fields = {
        "user_id": "u",
        "known_user": True,
        "latency_ms": latency_ms,
        "attempts": 1,
        "rung": "ranked",
        "item_ids": ("a",),
    }
    return RequestRecord(**{**fields, **changes})


def test_percentiles_interpolate():
    found = latency_percentiles(list(range(101)))
    assert found == {"p50_ms": 50.0, "p95_ms": 95.0, "p99_ms": 99.0}
    assert latency_percentiles([10.0, 20.0])["p50_ms"] == 15.0


def test_no_values_are_none_and_never_nan():
    nothing = {"p50_ms": None, "p95_ms": None, "p99_ms": None}
    assert latency_percentiles([]) == nothing
    figures = served_figures([record(failure="ConnectError")])
    assert figures["degraded_share"] is None
    assert figures["p99_ms"] is None
    json.dumps(figures, allow_nan=False)
    assert latency_histogram([]) == {"edges_ms": [], "counts": []}
    assert share_interval([], seed=1) is None


def test_errors_are_counted_and_do_not_enter_shares_and_percentiles():
    records = [
        record(10.0),
        record(30.0, degraded=True, cold_start=True, known_user=False, user_id="n", rung="static"),
        record(120.0, attempts=2),
        record(9_000.0, failure="status 503", attempts=2),
    ]
    figures = served_figures(records)
    assert figures["requests"] == 4
    assert figures["errors"] == 1
    assert figures["degraded_share"] == pytest.approx(1 / 3, abs=1e-6)
    assert figures["cold_start_share"] == pytest.approx(1 / 3, abs=1e-6)
    assert figures["p50_ms"] == 30.0
    assert figures["p99_ms"] < 121
    assert figures["over_budget_share"] == pytest.approx(1 / 3, abs=1e-6)
    assert figures["retried_requests"] == 2
    assert figures["failures"] == {"status 503": 1}
    assert figures["rungs"] == {"ranked": 2, "static": 1}
    assert (figures["users"], figures["new_users"], figures["new_user_requests"]) == (2, 1, 1)


def test_a_stage_counts_only_the_answers_that_went_through_it():
    figures = stage_figures(
        [record(stages_ms={"retrieval": 2.0, "ranking": 4.0}), record(stages_ms={"cold_start": 1.0})]
    )
    assert figures["retrieval"]["requests"] == 1
    assert figures["cold_start"]["p50_ms"] == 1.0
    assert set(figures) == {"retrieval", "ranking", "cold_start"}


def test_stages_come_in_the_order_of_a_request():
    records = [record(stages_ms={"http": 1.0, "cold_start": 1.0}), record(stages_ms={"retrieval": 1.0})]
    figures = stage_figures(records, order=("features", "retrieval", "cold_start"))
    assert list(figures) == ["retrieval", "cold_start", "http"]


def test_histogram_holds_every_answer():
    histogram = latency_histogram([record(float(value)) for value in range(1, 101)])
    assert sum(histogram["counts"]) == 100
    assert len(histogram["edges_ms"]) == len(histogram["counts"]) + 1
    assert histogram["edges_ms"][-1] == 100.0


def test_exposure_counts_languages_that_are_never_shown():
    language_of = {"a": "en", "b": "en", "c": "fr"}
    exposure = language_exposure([("a", "b"), ("a", "c")], language_of, ("de", "en", "fr"))
    assert exposure.tolist() == [0.0, 3.0, 1.0]
    # Sum over pairs of absolute differences over 2 n^2 mean, by hand.
    assert exposure_gini(exposure) == pytest.approx(2 * (3 + 1 + 2) / (2 * 9 * 4 / 3))


def test_gini_of_nothing_or_one_language_is_none():
    assert exposure_gini(np.zeros(3)) is None
    assert exposure_gini(np.array([5.0])) is None


def test_share_interval_is_reproducible_and_holds_the_mean():
    outcomes = [1.0] * 20 + [0.0] * 80
    first = share_interval(outcomes, seed=3)
    assert first == share_interval(outcomes, seed=3)
    assert first.value == pytest.approx(0.2)
    assert first.low < 0.2 < first.high
    assert first.n == 100
