"""The client's deadline: read, capped, refused where it is none, and carried to whatever is waited for."""

from __future__ import annotations

import asyncio
import json
import math
import time

import pytest
from starlette.datastructures import Headers

from services.recommendations.gateway.edge.deadlines import (
    TIMEOUT_HEADER,
    ArrivalMiddleware,
    DeadlineLimits,
    deadline_of,
)
from tests.unit.gateway.service import Service, problem

LIMITS = DeadlineLimits(default_ms=100.0, maximum_ms=1000.0)


@pytest.fixture
def service(stages, store):
    return Service(stages, store)


def ask(service, timeout, user_id="known"):
    return service.recommend(json={"user_id": user_id, "k": 3}, headers={TIMEOUT_HEADER: timeout})


@pytest.mark.parametrize(
    ("text", "budget_ms"),
    [("40", 40.0), ("0.5", 0.5), (" 40 ", 40.0), ("1000", 1000.0), ("1001", 1000.0), ("9" * 400, 1000.0)],
)
def test_the_callers_number_counts_up_to_the_cap(text, budget_ms):
    assert LIMITS.budget_ms(Headers({TIMEOUT_HEADER: text})) == budget_ms


def test_who_says_nothing_has_the_default():
    assert LIMITS.budget_ms(Headers({})) == 100.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "+1",
        "0",
        "0.0",
        "soon",
        "nan",
        "inf",
        "1e3",
        "0x10",
        "1_000",
        "1,5",
        "1.",
        ".5",
        "10ms",
        "4 0",
    ],
)
def test_what_is_no_number_above_zero_is_refused_by_name(service, text):
    document = problem(ask(service, text))
    assert [error["field"] for error in document["errors"]] == [TIMEOUT_HEADER]
    assert service.stages.retrieval.calls == 0


def test_two_deadlines_are_none(service):
    headers = [(TIMEOUT_HEADER, "40"), (TIMEOUT_HEADER.lower(), "50")]
    response = service.recommend(json={"user_id": "known"}, headers=headers)
    assert problem(response)["errors"] == [{"field": TIMEOUT_HEADER, "problem": "stands there twice"}]


@pytest.mark.parametrize(
    ("default_ms", "maximum_ms"), [(0.0, 1.0), (2.0, 1.0), (1.0, math.inf), (math.nan, 1.0)]
)
def test_limits_that_bound_nothing_are_refused(default_ms, maximum_ms):
    with pytest.raises(ValueError, match="default_ms"):
        DeadlineLimits(default_ms, maximum_ms)


def test_every_stage_is_told_what_is_left(service):
    assert ask(service, "400").status_code == 200
    for stage in (service.stages.retrieval, service.stages.ranking, service.stages.reranking):
        (left_ms,) = stage.remaining_ms
        assert 0.0 < left_ms < 400.0


def test_the_re_ranker_hears_how_much_of_a_hundred_milliseconds_is_left(service):
    ask(service, "60")
    (short_ms,) = service.stages.reranking.current_latencies_ms
    assert short_ms >= 40.0
    service.recommend({"user_id": "known"})  # five seconds, of which it takes far less than all
    assert service.stages.reranking.current_latencies_ms[1] == 0.0


def test_a_short_deadline_is_kept_and_the_answer_says_what_is_missing(service):
    service.stages.ranking.delay_s = 30.0
    answer = ask(service, "60").json()
    assert (answer["rung"], answer["skipped"][0]) == ("retrieval_order", "ranking")
    assert len(answer["items"]) == 3
    assert answer["latency_ms"] < 900.0  # it would wait for a second without the header


def test_a_slow_store_takes_no_more_than_its_part_of_a_short_deadline(service):
    reads = service.store.user_features
    service.store.user_features = lambda user_id: time.sleep(0.1) or reads(user_id)
    answer = ask(service, "25").json()
    assert "features" in answer["skipped"]
    metrics = service.call(("GET", "/metrics", {})).text
    assert 'streamrec_faults_total{dependency="feature_store"' not in metrics
    assert "streamrec_features_failures_total 1.0" in metrics


async def trickle():
    asked = json.dumps({"user_id": "known"}).encode()
    yield asked[:1]
    await asyncio.sleep(0.02)
    yield asked[1:]


def test_what_comes_to_its_turn_too_late_is_not_worked_on(service):
    headers = {"content-type": "application/json", TIMEOUT_HEADER: "5"}
    response = service.recommend(content=trickle(), headers=headers)
    document = problem(response, 503)
    assert document["type"].endswith(":deadline-exceeded")
    assert document["detail"].startswith("The request had 5 ms")
    assert response.headers["retry-after"] == "1"
    assert service.stages.retrieval.calls == 0
    metrics = service.call(("GET", "/metrics", {})).text
    assert 'streamrec_requests_total{rung="none",status="503"} 1.0' in metrics


class Late:
    """An event loop that is behind."""

    def __init__(self, lag_ms):
        self.lag_ms = lag_ms

    def current_ms(self):
        return self.lag_ms


@pytest.mark.parametrize(("lag_ms", "elapsed_ms"), [(30.0, 40.0), (400.0, 60.0)])
def test_waiting_unseen_counts_as_far_as_it_is_likely(lag_ms, elapsed_ms):
    seen = []

    async def application(scope, _receive, _send):
        seen.append(deadline_of(scope, 100.0, clock=lambda: 50.01))

    middleware = ArrivalMiddleware(application, Late(lag_ms), clock=lambda: 50.0)
    asyncio.run(middleware({"type": "http"}, None, None))
    assert seen[0].elapsed_ms() == pytest.approx(elapsed_ms)
    assert seen[0].remaining_ms() == pytest.approx(100.0 - elapsed_ms)


def test_an_answer_after_its_deadline_is_counted(service):
    ask(service, "900")
    on_time = service.call(("GET", "/metrics", {})).text
    answer = service.stages.reranking.rerank
    service.stages.reranking.rerank = lambda *asked: time.sleep(0.05) or answer(*asked)  # it blocks the loop
    assert ask(service, "40").status_code == 200
    late = service.call(("GET", "/metrics", {})).text
    assert "streamrec_late_total 0.0" in on_time
    assert "streamrec_late_total 1.0" in late
    assert "streamrec_event_loop_lag_seconds" in late


def test_the_document_describes_the_header(service):
    document = service.call(("GET", "/openapi.json", {})).json()
    (parameter,) = document["paths"]["/v1/recommendations"]["post"]["parameters"]
    assert (parameter["name"], parameter["in"]) == (TIMEOUT_HEADER, "header")
    assert parameter["schema"]["exclusiveMinimum"] == 0
    assert TIMEOUT_HEADER in service.call(("GET", "/docs", {})).text
