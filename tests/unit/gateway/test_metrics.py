from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.recommendations.contracts.rungs import Rung
from services.recommendations.gateway.metrics import RecommendationMetrics
from streamrec.contracts.events import InteractionKind
from streamrec.contracts.slots import ServingRole
from streamrec.events.records import QuarantineReason
from streamrec.monitoring.model_metrics import CallResult


@pytest.fixture
def metrics():
    return RecommendationMetrics()


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


def test_models_are_observed_by_slot_and_version(metrics):
    metrics.observe_model("ranking", 3, 7.0, CallResult.ANSWERED)
    metrics.observe_model("ranking", None, 40.0, CallResult.FAILED)
    found = samples(metrics)
    answered = (
        "champion",
        "recommendations-ranking@3",
        "recommendations.ranking",
    )  # sorted, as `samples` does
    unanswered = ("champion", "recommendations.ranking", "unknown")
    assert found["streamrec_model_predictions_total", *answered] == 1
    assert found["streamrec_model_failures_total", *answered] == 0
    assert found["streamrec_model_failures_total", *unanswered] == 1
    assert found["streamrec_model_latency_seconds_count", *unanswered] == 1


def test_waits_for_features_are_observed(metrics):
    metrics.observe_features(2.0)
    metrics.observe_features(40.0, failed=True)
    found = samples(metrics)
    assert found["streamrec_features_latency_seconds_count",] == 2
    assert found["streamrec_features_failures_total",] == 1


def test_events_and_gauges(metrics):
    metrics.count_event(InteractionKind.CLICK)
    metrics.count_duplicate_event()
    metrics.count_quarantined_event(QuarantineReason.UNKNOWN_ITEM)
    metrics.watch_catalogue(items=lambda: 9742, revision=lambda: 12, readable=lambda: False)
    metrics.set_model_versions({"ranking": 3, "retrieval": 1})
    metrics.set_model_versions({"ranking": 4})

    found = samples(metrics)

    assert found["streamrec_events_accepted_total", "click"] == 1
    assert found["streamrec_events_accepted_total", "like"] == 0
    assert found["streamrec_events_duplicate_total",] == 1
    assert found["streamrec_events_quarantined_total", "unknown_item"] == 1
    assert found["streamrec_catalogue_items",] == 9742
    serving = [labels for name, *labels in found if name == "streamrec_model_serving"]
    assert serving == [["champion", "recommendations-ranking@4", "recommendations.ranking"]]


def test_who_serves_and_who_was_asked_is_told_by_role(metrics):
    metrics.set_versions_by_role(
        {ServingRole.CHAMPION: {"ranking": 3}, ServingRole.CHALLENGER: {"ranking": 4}}
    )
    metrics.observe_model("ranking", 4, 2.0, CallResult.FAILED, ServingRole.CHALLENGER)
    found = samples(metrics)
    of_challenger = ("challenger", "recommendations-ranking@4", "recommendations.ranking")
    assert found["streamrec_model_serving", *of_challenger] == 1
    assert found["streamrec_model_failures_total", *of_challenger] == 1
    metrics.set_versions_by_role({ServingRole.CHALLENGER: {}})
    serving = [labels for name, *labels in samples(metrics) if name == "streamrec_model_serving"]
    assert [role for role, *_ in serving] == ["champion"]


def test_two_services_in_one_process_do_not_share_counters(metrics):
    other = RecommendationMetrics()
    other.count_event(InteractionKind.CLICK)
    assert samples(metrics)["streamrec_events_accepted_total", "click"] == 0


def test_a_gateway_among_several_has_its_name_on_every_sample():
    plain, named = RecommendationMetrics(), RecommendationMetrics("g7")
    for metrics in (plain, named):
        metrics.observe_request(status=200, rung=Rung.RANKED, latency_ms=5.0)
    samples = [line for line in named.render()[0].decode().splitlines() if not line.startswith("#")]
    assert samples
    assert all('gateway="g7"' in line for line in samples)
    assert 'streamrec_requests_total{gateway="g7",rung="ranked",status="200"} 1.0' in samples
    label = re.compile(r',gateway="g7"|(?<={)gateway="g7",?')
    without = [label.sub("", line).replace("{}", "") for line in samples]
    as_plain = [line for line in plain.render()[0].decode().splitlines() if not line.startswith("#")]
    # When a series began is the one thing that differs.
    assert [line for line in without if "_created" not in line] == [
        line for line in as_plain if "_created" not in line
    ]
