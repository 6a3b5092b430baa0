"""Whatever a dependency raises, there is an answer, it says what is missing, and the reason is counted."""

from __future__ import annotations

import logging
import uuid

import pytest

from services.recommendations.gateway.faults import Faults
from services.recommendations.gateway.metrics import RecommendationMetrics
from streamrec.contracts.errors import DependencyError, InvalidInputError, NotReadyError
from tests.unit.gateway.service import Service

ERRORS = [
    DependencyError("down"),
    NotReadyError("nothing was materialised"),
    InvalidInputError("user_id", "odd"),
    RuntimeError("broken"),
    KeyError("row"),
    OSError(5, "I/O error"),
    AssertionError(),
]


@pytest.fixture
def service(stages, store):
    return Service(stages, store)


def ask(service):
    service.call(("POST", "/v1/recommendations", {"json": {"user_id": "known"}}), ("GET", "/metrics", {}))
    return service.responses[0].json(), service.responses[1].text


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_whatever_the_feature_store_raises_degrades_the_answer(service, store, error):
    store.error = error
    answer, metrics = ask(service)
    assert (answer["degraded"], answer["skipped"], len(answer["items"])) == (True, ["features"], 10)
    fault = f'streamrec_faults_total{{dependency="feature_store",error="{type(error).__name__}"}} 1.0'
    assert fault in metrics


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("stage", ["retrieval", "ranking", "reranking"])
def test_whatever_a_stage_raises_degrades_the_answer(service, stages, stage, error):
    getattr(stages, stage).faults = [error, error]
    answer, metrics = ask(service)
    assert (answer["degraded"], answer["skipped"], len(answer["items"])) == (True, [stage], 10)
    assert f'streamrec_faults_total{{dependency="{stage}",error="{type(error).__name__}"}} 1.0' in metrics


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_impression_log_that_fails_costs_nobody_the_answer(service, monkeypatch, error):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr("services.recommendations.gateway.recommender.impression_of", fails)
    answer, metrics = ask(service)
    assert (answer["degraded"], len(answer["items"])) == (False, 10)
    assert "streamrec_impressions_dropped_total 1.0" in metrics


def test_popular_items_stand_in_for_a_pipeline_that_fails(service, monkeypatch):
    def fails(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("services.recommendations.pipeline.pipeline._merged", fails)
    answer, metrics = ask(service)
    assert (answer["degraded"], answer["rung"], len(answer["items"])) == (True, "popular_in_language", 10)
    assert 'streamrec_faults_total{dependency="pipeline",error="ZeroDivisionError"} 1.0' in metrics


def test_a_storm_of_one_fault_is_one_line_in_a_while(caplog):
    now_s = 0.0
    metrics = RecommendationMetrics()
    faults = Faults(metrics, quiet_s=60.0, clock=lambda: now_s)
    with caplog.at_level(logging.ERROR):
        for _ in range(100):
            faults.note("feature_store", KeyError("row"), "users are served like new ones")
        assert len(caplog.records) == 1
        assert caplog.records[0].exc_info is not None
        faults.note("feature_store", RuntimeError("another"), "users are served like new ones")
        assert len(caplog.records) == 2
        now_s = 60.0
        faults.note("feature_store", KeyError("row"), "users are served like new ones")
    assert "99 more" in caplog.records[2].message
    assert 'error="KeyError"} 101.0' in metrics.render()[0].decode()


def test_kinds_of_faults_are_bounded():
    metrics = RecommendationMetrics()
    faults = Faults(metrics)
    for number in range(200):
        faults.note("feature_store", type(f"Odd{number}Error", (Exception,), {})(), "nothing")
    text = metrics.render()[0].decode()
    assert text.count("streamrec_faults_total{") == 65
    assert 'error="other"} 136.0' in text


def test_request_ids_are_made_by_the_service_and_the_clients_is_kept_beside_it(service):
    ask_with = ("POST", "/v1/recommendations", {"json": {"user_id": "known", "request_id": "mine"}})
    service.call(ask_with, ask_with)
    first, second = (response.json() for response in service.responses)
    assert first["request_id"] < second["request_id"]
    assert {uuid.UUID(answer["request_id"]).version for answer in (first, second)} == {7}
    assert [answer["client_request_id"] for answer in (first, second)] == ["mine", "mine"]
    assert service.responses[0].headers["x-client-request-id"] == "mine"
    impressions = service.log.snapshot().impressions
    assert [found.client_request_id for found in impressions] == ["mine", "mine"]
    assert [found.request_id for found in impressions] == [first["request_id"], second["request_id"]]


def test_a_request_id_of_another_user_hides_nothing(service):
    service.call(
        *(
            ("POST", "/v1/recommendations", {"json": {"user_id": user, "request_id": "same"}})
            for user in ("known", "other")
        )
    )
    assert {found.unit for found in service.log.snapshot().impressions} == {"known", "other"}


def test_without_an_id_of_the_client_there_is_none(service):
    response = service.recommend({"user_id": "known"})
    assert response.json()["client_request_id"] is None
    assert "x-client-request-id" not in response.headers


def test_any_id_of_a_client_is_a_valid_header(service):
    response = service.recommend({"user_id": "known", "request_id": "käthe 100%\N{GRINNING FACE}"})
    assert response.headers["x-client-request-id"] == "k%C3%A4the 100%25%F0%9F%98%80"
