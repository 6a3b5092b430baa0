"""Metrics of any served model: what is counted, and that the number of time series stays bounded."""

from __future__ import annotations

import threading

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streamrec.contracts.slots import ServingRole
from streamrec.monitoring.model_metrics import (
    LATENCY_BUCKETS_S,
    OTHER_VERSIONS,
    UNKNOWN_VERSION,
    CallResult,
    ModelMetrics,
)

CHAMPION, CHALLENGER = ServingRole.CHAMPION, ServingRole.CHALLENGER


@pytest.fixture
def registry():
    return CollectorRegistry()


def samples(registry):
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_every_result_is_counted_once(registry):
    metrics = ModelMetrics(registry, ["search.ranking"])
    for result in (*CallResult, CallResult.ANSWERED):
        metrics.observe("search.ranking", CHAMPION, "search@1", latency_ms=10.0, result=result)

    found = samples(registry)

    labels = ("champion", "search.ranking", "search@1")
    assert found["streamrec_model_predictions_total", *labels] == 5
    assert found["streamrec_model_degraded_total", *labels] == 1
    assert found["streamrec_model_skipped_total", *labels] == 1
    assert found["streamrec_model_failures_total", *labels] == 1
    assert found["streamrec_model_latency_seconds_count", *labels] == 5
    assert found["streamrec_model_latency_seconds_sum", *labels] == pytest.approx(0.05)


def test_slots_roles_and_versions_are_counted_apart(registry):
    metrics = ModelMetrics(registry, ["search.ranking", "ads.auction"])
    metrics.observe("search.ranking", CHAMPION, "a@1", latency_ms=1.0, result=CallResult.ANSWERED)
    metrics.observe("search.ranking", CHALLENGER, "a@2", latency_ms=1.0, result=CallResult.ANSWERED)
    metrics.observe("ads.auction", CHAMPION, None, latency_ms=1.0, result=CallResult.SKIPPED)
    counted = {
        labels for name, *labels_ in samples(registry) for labels in [tuple(labels_)] if "pred" in name
    }
    assert counted == {
        ("champion", "search.ranking", "a@1"),
        ("challenger", "search.ranking", "a@2"),
        ("champion", "ads.auction", UNKNOWN_VERSION),
    }


@pytest.mark.parametrize(
    ("latency_ms", "first_bucket"), [(0.5, "0.001"), (40.0, "0.04"), (40.1, "0.05"), (1e6, "+Inf")]
)
def test_a_latency_falls_into_the_buckets_at_and_above_it(registry, latency_ms, first_bucket):
    metrics = ModelMetrics(registry, ["s"])
    metrics.observe("s", CHAMPION, "a@1", latency_ms=latency_ms, result=CallResult.ANSWERED)
    found = samples(registry)
    filled = [bound for bound in (*map(str, LATENCY_BUCKETS_S), "+Inf") if found[bucket_of(bound)]]
    assert filled[0] == first_bucket
    assert filled[-1] == "+Inf"


def bucket_of(bound):
    return ("streamrec_model_latency_seconds_bucket", bound, "champion", "s", "a@1")


@pytest.mark.parametrize("promise_s", ["0.04", "0.085", "0.1"])
def test_the_promised_latencies_are_bucket_bounds(promise_s):
    assert float(promise_s) in LATENCY_BUCKETS_S


def test_only_the_versions_used_last_are_shown_and_no_call_is_lost(registry):
    metrics = ModelMetrics(registry, ["s"], maximum_versions=3)
    for version in range(1, 1001):
        metrics.observe("s", CHAMPION, f"a@{version}", latency_ms=2.0, result=CallResult.FAILED)
        metrics.observe("s", CHALLENGER, "a@1", latency_ms=2.0, result=CallResult.ANSWERED)

    found = samples(registry)

    shown = {labels[2] for name, *labels in found if name == "streamrec_model_predictions_total"}
    assert shown == {"a@1", "a@999", "a@1000", OTHER_VERSIONS}
    assert found["streamrec_model_predictions_total", "challenger", "s", "a@1"] == 1000
    for name in ("predictions_total", "failures_total", "latency_seconds_count"):
        of_champion = [
            value for key, value in found.items() if key[:2] == (f"streamrec_model_{name}", "champion")
        ]
        assert sum(of_champion) == 1000
    sums = [
        value
        for key, value in found.items()
        if key[:2] == ("streamrec_model_latency_seconds_sum", "champion")
    ]
    assert sum(sums) == pytest.approx(2.0)


def test_a_version_that_comes_back_counts_on_from_zero_beside_the_others(registry):
    metrics = ModelMetrics(registry, ["s"], maximum_versions=1)
    for version in ("a@1", "a@2", "a@1"):
        metrics.observe("s", CHAMPION, version, latency_ms=1.0, result=CallResult.ANSWERED)
    found = samples(registry)
    assert found["streamrec_model_predictions_total", "champion", "s", "a@1"] == 1
    assert found["streamrec_model_predictions_total", "champion", "s", OTHER_VERSIONS] == 2
    assert ("streamrec_model_predictions_total", "champion", "s", "a@2") not in found


def test_what_serves_is_shown_with_zeros_before_its_first_call(registry):
    metrics = ModelMetrics(registry, ["s"])
    metrics.set_serving("s", CHAMPION, "a@1")
    metrics.set_serving("s", CHAMPION, "a@2")
    metrics.set_serving("s", CHALLENGER, "a@3")
    metrics.set_serving("s", CHALLENGER, None)
    found = samples(registry)
    assert [key[1:] for key in found if key[0] == "streamrec_model_serving"] == [("champion", "s", "a@2")]
    assert found["streamrec_model_failures_total", "champion", "s", "a@2"] == 0


def test_a_slot_that_was_not_named_is_refused(registry):
    metrics = ModelMetrics(registry, ["s"])
    with pytest.raises(ValueError, match="unknown slot 'hostile'"):
        metrics.observe("hostile", CHAMPION, "a@1", latency_ms=1.0, result=CallResult.ANSWERED)
    with pytest.raises(ValueError, match="unknown slot"):
        metrics.set_serving("hostile", CHAMPION, "a@1")
    with pytest.raises(ValueError, match="one version"):
        ModelMetrics(CollectorRegistry(), ["s"], maximum_versions=0)


def test_threads_lose_no_count(registry):
    metrics = ModelMetrics(registry, ["s"], maximum_versions=2)

    def work(offset):
        for number in range(300):
            version = f"a@{(number + offset) % 5 + 1}"
            metrics.observe("s", CHAMPION, version, latency_ms=1.0, result=CallResult.ANSWERED)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = [
        value for key, value in samples(registry).items() if key[0] == "streamrec_model_predictions_total"
    ]
    assert sum(counted) == 1200
