"""What is made of a recording."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from services.recommendations.load_tests.recording import RUNGS, STAGE_NAMES, Recording
from services.recommendations.load_tests.results import Measured, machine, percentile
from services.recommendations.load_tests.schedule import LoadSettings

LOAD = LoadSettings(rps=10.0, duration_s=10.0, warm_up_s=1.0)


def recording(waits_s: list[float]) -> Recording:
    """One request a tenth of a second, from second 0; each answered after its wait."""
    made = Recording.empty(len(waits_s))
    made.times_s[:] = np.arange(len(waits_s)) * 0.1
    made.sent_s[:] = made.times_s + 0.001
    made.done_s[:] = made.times_s + np.array(waits_s)
    made.status[:] = 200
    made.rung[:] = RUNGS.index("ranked")
    return made


def test_latency_counts_from_the_planned_time_and_without_the_warm_up() -> None:
    seen = recording([9.0] * 10 + [0.010 + 0.001 * step for step in range(101)])
    seen.sent_s[50] += 0.5  # the generator was late: that is part of the wait
    row = Measured.of(seen, LOAD, {}).row("monolith", 200, 10.0)
    assert row.p50_ms == pytest.approx(60.0)
    assert row.p95_ms == pytest.approx(105.0)
    assert row.p99_ms == pytest.approx(109.0)
    assert row.p999_ms == pytest.approx(109.9)
    assert row.achieved_rps == pytest.approx(10.1)
    assert row.errors == 0
    assert row.cpu_ms_per_request is None


def test_who_was_waited_for_in_vain_counts_with_the_wait_and_who_was_refused_does_not() -> None:
    seen = recording([0.010] * 110)
    seen.status[20:30], seen.done_s[20:30] = 0, np.nan
    seen.status[40:45] = 503
    seen.done_s[40:45] = seen.times_s[40:45] + 0.002
    seen.status[50] = 0  # the connection broke at once
    measured = Measured.of(seen, LOAD, {})
    assert (measured.answers, measured.refused, measured.unanswered) == (84, 5, 11)
    assert measured.errors == 16
    assert len(measured.waits_ms) == 94
    assert measured.percentile_ms(99.0) > 10_000.0
    assert measured.row("monolith", 200, 10.0).achieved_rps == pytest.approx(8.4)
    refused_ms = Measured.together([measured, measured]).details()["refused_ms"]
    assert refused_ms == {"p50": pytest.approx(2.0), "p99": pytest.approx(2.0)}


def test_degraded_answers_and_their_rungs_are_counted_among_answers() -> None:
    seen = recording([0.010] * 110)
    seen.degraded[:30] = True  # the first ten belong to the warm-up
    seen.rung[20:30] = RUNGS.index("static")
    measured = Measured.of(seen, LOAD, {})
    assert measured.degraded_share == pytest.approx(0.2)
    assert measured.details()["rungs"] == {
        "ranked": 90,
        "retrieval_order": 0,
        "popular_in_language": 0,
        "static": 10,
    }


def test_stages_that_nobody_was_asked_for_do_not_count() -> None:
    seen = recording([0.010] * 110)
    ranking = STAGE_NAMES.index("ranking")
    seen.stages_ms[:60, ranking] = 2.0
    seen.stages_ms[:10, ranking] = 99.0  # warm-up
    assert Measured.of(seen, LOAD, {}).stages() == {"ranking": {"p50_ms": 2.0, "p99_ms": 2.0}}


def test_processor_time_is_shared_by_the_answers() -> None:
    measured = Measured.of(recording([0.010] * 110), LOAD, {"replicas": 0.3, "proxy": 0.1})
    assert measured.cpu_ms_per_request() == pytest.approx(4.0)
    assert measured.cpu_ms_per_request("replicas") == pytest.approx(3.0)
    assert measured.row("monolith", 200, 10.0).cpu_ms_per_request == pytest.approx(4.0)


def test_rounds_are_put_together_before_percentiles_are_taken() -> None:
    fast = Measured.of(recording([0.010] * 110), LOAD, {"replicas": 0.1})
    slow = Measured.of(recording([0.030] * 110), LOAD, {"replicas": 0.3})
    both = Measured.together([fast, slow])
    assert both.percentile_ms(50.0) == pytest.approx(20.0)
    assert both.answers == 200
    assert both.row("monolith", 200, 10.0).achieved_rps == pytest.approx(10.0)
    assert both.cpu_ms_per_request() == pytest.approx(2.0)


def test_a_row_has_the_fields_of_the_file_and_is_json_also_where_nothing_was_answered() -> None:
    seen = recording([0.010] * 110)
    seen.status[:] = 503
    row = Measured.of(seen, LOAD, {"replicas": 0.1}).row("streamrec_apart", 200_000, 60.0).to_json()
    assert list(row) == [
        "system",
        "items",
        "offered_rps",
        "achieved_rps",
        "p50_ms",
        "p95_ms",
        "p99_ms",
        "p999_ms",
        "errors",
        "degraded_share",
        "cpu_ms_per_request",
    ]
    assert json.loads(json.dumps(row, allow_nan=False))["p50_ms"] is None
    assert row["errors"] == 100


def test_a_recording_comes_back_from_its_file(tmp_path) -> None:
    seen = replace(recording([0.010] * 5), event_waits_ms=np.array([3.0]), failed_events=2, process_cpu_s=0.5)
    seen.done_s[3] = np.nan
    seen.write(tmp_path / "seen.npz")
    back = Recording.read(tmp_path / "seen.npz")
    np.testing.assert_array_equal(back.done_s, seen.done_s)
    np.testing.assert_array_equal(back.stages_ms, seen.stages_ms)
    assert (back.failed_events, back.process_cpu_s, back.event_waits_ms.tolist()) == (2, 0.5, [3.0])


def test_percentiles_of_nothing_are_none_and_the_machine_is_named() -> None:
    assert percentile(np.empty(0), 50.0) is None
    assert percentile(np.array([1.0, 3.0]), 50.0) == 2.0
    assert machine()["cpus"] >= 1
    assert machine()["cpu_model"]
