"""The latency gate: bounds that hold, limits that are held, and no verdict where the machine disturbed."""

from __future__ import annotations

import numpy as np
import pytest

from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.operating_policy import LatencyLimits
from streamrec.gates.checks.latency import (
    LatencyEvidence,
    Timings,
    in_turns,
    judge_latency,
    percentile_bounds,
    requests_needed,
    slowdown,
)
from streamrec.gates.runner import Enforcement

LIMITS = LatencyLimits(p99_ms=10.0, memory_mib=100, slower_than_champion=0.5)
MIB = 1024**2


def timings(scale_ms, *, count=600, busy=False, memory_mib=50, seed=0, ref="m@2", problem=""):
    rng = np.random.default_rng(seed)
    reference = rng.normal(1.0, 0.01, count)
    if busy:
        reference[::20] = 5.0
    return Timings(
        ref, scale_ms * rng.lognormal(0.0, 0.2, count), reference, memory_mib * MIB, problem=problem
    )


def result(candidate, champion=None, limits=LIMITS):
    return judge_latency(LatencyEvidence("m@2", candidate, champion, Enforcement()), limits)


def codes(found):
    return [reason.code for reason in found.reasons]


def test_a_quick_version_passes_and_its_first_one_says_that_nothing_serves():
    found = result(timings(1.0))
    assert (found.verdict, codes(found)) == (Verdict.PASSED, ["no_champion"])


def test_a_slow_version_fails():
    assert codes(result(timings(20.0), timings(20.0, ref="m@1"))) == ["too_slow"]


def test_a_slow_tail_fails_where_the_machine_was_quiet_and_is_undecided_where_it_was_not():
    quiet, busy = timings(1.0), timings(1.0, busy=True)
    quiet.times_ms[::25] = 30.0
    busy.times_ms[::25] = 30.0
    assert codes(result(quiet))[0] == "too_slow"
    found = result(busy)
    assert (found.verdict, codes(found)[0]) == (Verdict.INCONCLUSIVE, "latency_undecided")
    assert "busy" in found.reasons[0].message


def test_no_noise_excuses_a_slow_median():
    assert codes(result(timings(20.0, busy=True)))[0] == "too_slow"


def test_too_few_requests_are_inconclusive_with_how_many_it_takes():
    found = result(timings(1.0, count=100))
    assert (found.verdict, codes(found)[0]) == (Verdict.INCONCLUSIVE, "too_few_requests")
    assert "299" in found.reasons[0].message
    assert requests_needed(0.95) == 299


def test_memory_is_held_against_its_limit():
    assert "too_much_memory" in codes(result(timings(1.0, memory_mib=101)))
    assert "too_much_memory" not in codes(result(timings(1.0, memory_mib=100)))


def test_a_version_much_slower_than_the_champion_fails_and_a_little_slower_passes():
    champion = timings(2.0, ref="m@1", seed=1)
    assert codes(result(timings(4.0), champion)) == ["slower_than_champion"]
    assert result(timings(2.6), champion).verdict is Verdict.PASSED


def test_nobody_asks_how_much_slower_where_both_take_next_to_nothing():
    assert result(timings(0.4), timings(0.1, ref="m@1")).verdict is Verdict.PASSED


def test_a_champion_that_cannot_be_measured_is_told():
    found = result(timings(1.0), timings(1.0, ref="m@1", problem="it died"))
    assert (found.verdict, codes(found)) == (Verdict.PASSED, ["champion_not_measured"])


def test_a_candidate_that_cannot_be_measured_fails():
    assert codes(result(timings(1.0, problem="it died"))) == ["not_measurable"]


def test_the_same_evidence_gives_the_same_verdict():
    candidate, champion = timings(2.9), timings(2.0, ref="m@1", seed=1)
    assert result(candidate, champion) == result(candidate, champion)


@pytest.mark.parametrize("count", [300, 600])
def test_the_upper_bound_holds_as_often_as_it_says(count):
    """Over 1,000 samples of which the percentile is known: 95 % of the bounds hold, within chance."""
    rng = np.random.default_rng(7)
    true = float(np.exp(0.5 * 2.3263478740408408))
    samples = np.sort(rng.lognormal(0.0, 0.5, (1_000, count)), axis=1)
    bounds = [percentile_bounds(sample, 0.99, 0.95) for sample in samples[:400]]
    held = np.mean([bound.high >= true for bound in bounds])
    assert held >= 0.95 - 2.6 * np.sqrt(0.95 * 0.05 / 400)


def test_bounds_are_values_of_the_sample_around_its_percentile():
    values = np.arange(1.0, 1_001.0)
    bound = percentile_bounds(values, 0.99, 0.95)
    assert bound.low < bound.value < bound.high
    assert {bound.low, bound.high} <= set(values)
    assert percentile_bounds(values[:100], 0.99, 0.95).high is None


def test_a_slowdown_is_found_between_its_bounds():
    found = slowdown(timings(3.0).times_ms, timings(2.0, seed=1).times_ms, 0.95, np.random.default_rng(0))
    assert found.low < 1.5 < found.high
    assert found.high - found.low < 0.15


def test_turns_are_balanced():
    assert in_turns("new", "old", 2) == ("new", "old", "old", "new")
    assert in_turns("new", None, 2) == ("new", "new")
