from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.recommendations.gateway.metrics import RecommendationMetrics
from streamrec.contracts.events import EventKind, Rung
from streamrec.events.records import QuarantineReason


@pytest.fixture
def metrics():
    return RecommendationMetrics(["retrieval", "ranking"])


def samples(metrics):
    content, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(content.decode())
        for sample in family.samples
    }


def test_requests_are_counted_by_status_and_rung(metrics):
    metrics.observe_request(status=200, rung=Rung.RANKED, latency_ms=12.0)
    metrics.observe_request(status=200, rung=Rung.STATIC, latency_ms=90.0, cold_start=True, degraded=True)
    metrics.observe_request(status=422, rung=None, latency_ms=0.5)

    found = samples(metrics)

    assert found["streamrec_requests_total", "200", "ranked"] == 1
    assert found["streamrec_requests_total", "200", "static"] == 1
    assert found["streamrec_requests_total", "422", "none"] == 1
    assert found["streamrec_degraded_total",] == 1
    assert found["streamrec_cold_start_total",] == 1
    assert found["streamrec_request_latency_seconds_count",] == 3
    assert found["streamrec_request_latency_seconds_sum",] == pytest.approx(0.1025)
    assert found["streamrec_request_latency_seconds_bucket", "0.015"] == 2


@pytest.mark.parametrize("promise_s", ["0.04", "0.085", "0.1"])
def test_the_promised_latencies_are_bucket_bounds(metrics, promise_s):
    assert ("streamrec_request_latency_seconds_bucket", promise_s) in samples(metrics)


def test_stages_are_observed_by_name(metrics):
    metrics.observe_stage("ranking", 7.0)
    metrics.observe_stage("ranking", 40.0, failed=True)
    found = samples(metrics)
    assert found["streamrec_stage_latency_seconds_count", "ranking"] == 2
    assert found["streamrec_stage_failures_total", "ranking"] == 1
    assert found["streamrec_stage_failures_total", "retrieval"] == 0
    with pytest.raises(ValueError, match="unknown stage 'hostile'"):
        metrics.observe_stage("hostile", 1.0)


def test_events_and_gauges(metrics):
    metrics.count_event(EventKind.CLICK)
    metrics.count_duplicate_event()
    metrics.count_quarantined_event(QuarantineReason.UNKNOWN_ITEM)
    metrics.set_catalogue_items(9742)
    metrics.set_model_versions({"ranking": 3, "retrieval": 1})
    metrics.set_model_versions({"ranking": 4})

    found = samples(metrics)

    assert found["streamrec_events_accepted_total", "click"] == 1
    assert found["streamrec_events_accepted_total", "like"] == 0
    assert found["streamrec_events_duplicate_total",] == 1
    assert found["streamrec_events_quarantined_total", "unknown_item"] == 1
    assert found["streamrec_catalogue_items",] == 9742
    assert found["streamrec_model_version", "ranking"] == 4
    assert ("streamrec_model_version", "retrieval") not in found


def test_two_services_in_one_process_do_not_share_counters(metrics):
    other = RecommendationMetrics(["ranking"])
    other.count_event(EventKind.CLICK)
    assert samples(metrics)["streamrec_events_accepted_total", "click"] == 0
