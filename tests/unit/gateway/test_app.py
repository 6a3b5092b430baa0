from __future__ import annotations

import asyncio

import numpy as np
import pytest

from services.recommendations.contracts.candidates import Candidates
from services.recommendations.contracts.impression_extension import ImpressionExtension
from services.recommendations.contracts.rungs import Rung
from services.recommendations.gateway.schemas import MAXIMUM_REQUEST_BYTES, RecommendationAnswer
from streamrec.contracts.errors import DependencyError, NotReadyError
from streamrec.contracts.events import Propensity
from streamrec.items.memory_item_log import MemoryItemLog
from tests.unit.gateway.service import Service, event, problem


@pytest.fixture
def service(stages, store):
    return Service(stages, store)


def test_answer_for_a_known_user(service):
    response = service.recommend({"user_id": "known", "k": 3, "request_id": "mine"})
    assert response.status_code == 200
    answer = RecommendationAnswer.model_validate_json(response.content)
    assert [item.item_id for item in answer.items] == ["item-08", "item-06", "item-10"]
    assert [item.position for item in answer.items] == [0, 1, 2]
    assert (answer.client_request_id, answer.user_id, answer.rung) == ("mine", "known", "ranked")
    assert not answer.degraded
    assert not answer.cold_start
    assert list(answer.stages_ms) == ["features", "retrieval", "ranking", "reranking"]


def test_unknown_user_is_served_by_cold_start(service):
    answer = service.recommend({"user_id": "nobody", "context": {"language": "fi"}}).json()
    assert answer["cold_start"] is True
    assert len(answer["items"]) == 10
    assert answer["request_id"]


def test_impression_holds_what_was_served(service):
    answer = service.recommend({"user_id": "known", "k": 3}).json()
    (impression,) = service.log.snapshot().impressions
    assert impression.request_id == answer["request_id"]
    assert impression.item_ids == tuple(item["item_id"] for item in answer["items"])
    assert impression.propensity == Propensity.certain(3)
    assert impression.version == "recommendations-reranking@4"
    assert impression.versions == {
        "recommendations.retrieval": "recommendations-retrieval@1",
        "recommendations.ranking": "recommendations-ranking@3",
        "recommendations.reranking": "recommendations-reranking@4",
    }
    extension = ImpressionExtension.from_json(impression.extension)
    assert (extension.rung, extension.cold_start, extension.skipped) == (Rung.RANKED, False, ())
    assert extension.latency_ms > 0.0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "user_id"),
        ({"user_id": "u", "k": 0}, "k"),
        ({"user_id": "u", "k": 501}, "k"),
        ({"user_id": "u", "k": -1}, "k"),
        ({"user_id": "u", "k": 10**30}, "k"),
        ({"user_id": "u", "k": "10"}, "k"),
        ({"user_id": "u", "k": 10.5}, "k"),
        ({"user_id": "u", "k": True}, "k"),
        ({"user_id": "u", "k": None}, "k"),
        ({"user_id": 7}, "user_id"),
        ({"user_id": None}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "u" * 129}, "user_id"),
        ({"user_id": "a\x00b"}, "user_id"),
        ({"user_id": "a\nb"}, "user_id"),
        ({"user_id": "u", "request_id": "\x00"}, "request_id"),
        ({"user_id": "u", "surprise": 1}, "surprise"),
        ({"user_id": "u", "context": {"language": 3}}, "context.language"),
        ({"user_id": "u", "context": {"colour": "red"}}, "context.colour"),
        ({"user_id": "u", "context": []}, "context"),
    ],
    ids=str,
)
def test_a_wrong_field_is_named(service, body, field):
    document = problem(service.recommend(body))
    assert [error["field"] for error in document["errors"]] == [field]
    assert document["errors"][0]["problem"]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'"text"', "body"),
        (b"\xff\xfe", "body"),
        (b'{"user_id": "\\ud800"}', "body"),
        (b"[" * 60_000, "body"),
        (b'{"user_id": "u", "context": ' + b'{"a":' * 9_000 + b"1" + b"}" * 9_001, "body"),
        (b'{"user_id": "u", "k": NaN}', "k"),
        (b'{"user_id": "u", "k": Infinity}', "k"),
        (b'{"user_id": "u", "k": -Infinity}', "k"),
        (b'{"user_id": "u", "k": 1e400}', "k"),
        (b'{"user_id": NaN}', "user_id"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_document_is_named(service, content, field):
    response = service.recommend(content=content, headers={"content-type": "application/json"})
    assert problem(response)["errors"][0]["field"] == field


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", None])
def test_another_content_type_is_refused(service, content_type):
    headers = {} if content_type is None else {"content-type": content_type}
    document = problem(service.recommend(content=b'{"user_id": "u"}', headers=headers))
    assert document["errors"][0]["field"] == "body"


def test_content_type_may_have_a_charset(service):
    headers = {"content-type": "application/json; charset=utf-8"}
    assert service.recommend(content=b'{"user_id": "u"}', headers=headers).status_code == 200


def test_body_may_be_as_large_as_the_limit_and_no_larger(service):
    def body(size):
        start = b'{"user_id": "u"'
        return start + b" " * (size - len(start) - 1) + b"}"

    headers = {"content-type": "application/json"}
    assert service.recommend(content=body(MAXIMUM_REQUEST_BYTES), headers=headers).status_code == 200
    response = service.recommend(content=body(MAXIMUM_REQUEST_BYTES + 1), headers=headers)
    assert problem(response, 413)["errors"][0]["field"] == "body"


def test_an_endless_body_is_cut_off_while_it_streams(service):
    sent = 0

    async def endless():
        nonlocal sent
        while sent < 64 * MAXIMUM_REQUEST_BYTES:  # as good as endless
            sent += 1024
            yield b" " * 1024

    response = service.recommend(content=endless(), headers={"content-type": "application/json"})
    assert problem(response, 413)["errors"][0]["field"] == "body"
    assert response.headers["connection"] == "close"
    assert sent <= MAXIMUM_REQUEST_BYTES + 2048


@pytest.mark.parametrize(
    ("length", "status"),
    [("-1", 422), ("1e9", 422), ("99999999999999999999", 413), ("abc", 422), ("\u0664", 422)],
)
def test_a_false_content_length_is_refused(service, length, status):
    headers = {"content-type": "application/json", "content-length": length.encode()}
    assert problem(service.recommend(content=b"{}", headers=headers), status)["errors"][0]["field"] == "body"


def test_unknown_paths_and_methods_are_problems_too(service):
    problem(service.call(("GET", "/nowhere", {})), 404)
    problem(service.call(("GET", "/v1/recommendations", {})), 405)


def test_a_stage_that_answers_nan_degrades_the_answer(service, stages):
    def nan(candidates):
        return Candidates(candidates.item_ids, np.full(len(candidates), np.nan, dtype=np.float32))

    stages.ranking.faults = [nan]
    response = service.recommend({"user_id": "known"})
    assert "NaN" not in response.text
    assert response.json()["degraded"] is True
    assert response.json()["rung"] == "retrieval_order"


def test_a_feature_store_that_is_down_degrades_the_answer(service, store):
    store.error = DependencyError("down")
    answer = service.recommend({"user_id": "known"}).json()
    assert answer["degraded"] is True
    assert answer["skipped"] == ["features"]
    assert answer["cold_start"] is True
    assert answer["rung"] == "ranked"  # so that only `degraded` says that something is missing


def test_every_degraded_answer_is_counted(service, stages):
    stages.reranking.faults = [RuntimeError("broken")]
    metrics = service.call(
        ("POST", "/v1/recommendations", {"json": {"user_id": "known"}}), ("GET", "/metrics", {})
    )
    assert service.responses[0].json()["degraded"] is True
    assert "streamrec_degraded_total 1.0" in metrics.text


def test_an_error_of_our_own_tells_nothing_of_the_inside(service, monkeypatch):
    def broken(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr("services.recommendations.gateway.app._answer_document", broken)
    response = service.recommend({"user_id": "known"})
    problem(response, 500)
    assert "secret" not in response.text


def test_whatever_the_feature_store_raises_the_answer_is_degraded_and_tells_nothing_of_it(service, store):
    for error in (RuntimeError("secret"), KeyError("secret"), NotReadyError("secret"), OSError("secret")):
        store.error = error
        response = service.recommend({"user_id": "known"})
        assert response.status_code == 200, response.text
        assert response.json()["skipped"] == ["features"]
        assert "secret" not in response.text


def test_events_are_applied_once_whatever_the_feature_store_raises_when_they_come(service, store):
    broken = [KeyError("secret"), RuntimeError("secret")]
    add = store.add_actions

    def add_actions(actions):
        if broken:
            raise broken.pop()
        add(actions)

    store.add_actions = add_actions
    post = ("POST", "/v1/events", {"json": {"events": [event(item_id="item-20")]}})
    service.call(post, post, ("POST", "/v1/recommendations", {"json": {"user_id": "known", "k": 40}}))
    first, again, answer = service.responses
    assert (first.status_code, first.json()["accepted"]) == (200, 1)
    assert (again.status_code, again.json()["duplicates"]) == (200, 1)
    assert "item-20" not in {item["item_id"] for item in answer.json()["items"]}
    assert store.users["known"].history.count("item-20") == 1


def test_a_disliked_item_is_not_shown_again(service):
    ask = ("POST", "/v1/recommendations", {"json": {"user_id": "known", "k": 40}})
    dislike = event(item_id="item-20", kind="dislike")
    service.call(ask, ("POST", "/v1/events", {"json": {"events": [dislike]}}), ask)
    before, _, after = ([item["item_id"] for item in r.json().get("items", ())] for r in service.responses)
    assert "item-20" in before
    assert after
    assert "item-20" not in after


def test_too_many_requests_at_once_are_refused(stages, store):
    service = Service(stages, store, maximum_in_flight=1)
    stages.retrieval.delay_s = 0.3

    async def run():
        async with service.client() as client:
            return await asyncio.gather(
                *(client.post("/v1/recommendations", json={"user_id": "known"}) for _ in range(3))
            )

    statuses = sorted(response.status_code for response in asyncio.run(run()))
    assert statuses == [200, 503, 503]


def test_a_start_that_fails_in_an_unforeseen_way_is_tried_again(stages, store):
    service = Service(stages, store, not_ready=ValueError("odd"))

    async def run():
        async with service.client() as client:
            before = await client.get("/readyz")
            service.not_ready = None
            for _ in range(100):
                after = await client.get("/readyz")
                if after.status_code == 200:
                    break
                await asyncio.sleep(0.05)
            return before, after

    before, after = asyncio.run(run())
    assert "odd" in problem(before, 503)["detail"]
    assert after.status_code == 200


@pytest.mark.parametrize("path", ["/v1/recommendations", "/v1/events", "/readyz"])
def test_before_it_is_ready_the_service_says_what_is_missing(stages, store, path):
    service = Service(stages, store, not_ready=NotReadyError("model 'recommendations-ranking' is missing"))
    method = "GET" if path == "/readyz" else "POST"
    service.call((method, path, {}), ("GET", "/healthz", {}), ("GET", "/metrics", {}))
    document = problem(service.responses[0], 503)
    assert document["type"].endswith("not-ready")
    assert "recommendations-ranking" in document["detail"]
    assert [response.status_code for response in service.responses[1:]] == [200, 200]


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("/srv/var/features has no features; run 'x'", "features has no features; run 'x'"),
        (
            "[Errno 13] Permission denied: '/srv/var/a b/rows.db'",
            "[Errno 13] Permission denied: 'a b/rows.db'",
        ),
        ("/rows.db is gone", "/rows.db is gone"),
        ("redis://cache:6379/0 and http://a.b/c/d do not answer", None),
        ("one and/or the other; see docs/runbook.md", None),
    ],
)
@pytest.mark.parametrize("path", ["/v1/recommendations", "/readyz"])
def test_what_is_missing_is_said_without_the_folders_of_the_server(stages, store, inside, outside, path):
    service = Service(stages, store, not_ready=NotReadyError(inside))
    method = "GET" if path == "/readyz" else "POST"
    assert problem(service.call((method, path, {})), 503)["detail"] == (outside or inside)


class DamagedItemLog(MemoryItemLog):
    problem = "the item log in /srv/var/items is gone"


def test_what_is_wrong_while_it_is_ready_is_said_without_the_folders_of_the_server(stages, store):
    service = Service(stages, store)
    service.item_log = DamagedItemLog()
    service.problems = ["ranking-1: cannot load /srv/var/cache/ranking@3/weights.npz", "retrieval-1: too old"]
    ready = service.call(("GET", "/readyz", {})).json()
    assert ready["item_log_problem"] == "the item log in items is gone"
    assert ready["problems"] == ["ranking-1: cannot load weights.npz", "retrieval-1: too old"]


def test_ready_says_with_what(service):
    assert service.call(("GET", "/readyz", {})).json() == {
        "status": "ready",
        "model_versions": {"ranking": 3},
        "traffic_revision": None,
        "catalogue_items": 30,
        "item_revision": 0,
        "item_log_problem": "",
        "problems": [],
    }


def test_metrics_count_requests_by_rung_and_status(service, stages):
    stages.ranking.faults = [ValueError("a bug")]
    ask = ("POST", "/v1/recommendations", {"json": {"user_id": "known"}})
    wrong = ("POST", "/v1/recommendations", {"json": {"user_id": "known", "k": 0}})
    text = service.call(ask, ask, wrong, ("GET", "/metrics", {})).text
    assert 'streamrec_requests_total{rung="retrieval_order",status="200"} 1.0' in text
    assert 'streamrec_requests_total{rung="ranked",status="200"} 1.0' in text
    assert 'streamrec_requests_total{rung="none",status="422"} 1.0' in text
    ranking = 'role="champion",slot="recommendations.ranking"'
    assert f'streamrec_model_failures_total{{{ranking},version="unknown"}} 1.0' in text
    assert f'streamrec_model_predictions_total{{{ranking},version="recommendations-ranking@3"}} 1.0' in text
    assert f'streamrec_model_serving{{{ranking},version="recommendations-ranking@3"}} 1.0' in text
    assert "streamrec_features_latency_seconds_count 2.0" in text
    assert "streamrec_impressions_dropped_total 0.0" in text


def test_openapi_document_is_whole(service):
    document = service.call(("GET", "/openapi.json", {})).json()
    assert set(document["paths"]) == {
        "/v1/recommendations",
        "/v1/events",
        "/healthz",
        "/readyz",
        "/metrics",
    }

    def references(node):
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "$ref":
                    yield value
                else:
                    yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    schemas = document["components"]["schemas"]
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas
    assert schemas["RecommendationRequest"]["properties"]["k"]["maximum"] == 500
    post = document["paths"]["/v1/recommendations"]["post"]
    assert {"408", "413", "415", "422", "503"} <= set(post["responses"])
    assert "application/problem+json" in post["responses"]["422"]["content"]
    assert "application/problem+json" in post["responses"]["503"]["content"]


def test_docs_page_needs_no_other_host(service):
    response = service.call(("GET", "/docs", {}))
    assert response.status_code == 200
    assert "/v1/events" in response.text
    assert "://" not in response.text.replace("urn:", "")
