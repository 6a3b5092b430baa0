from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest

from services.recommendations.gateway.app import create_app
from services.recommendations.gateway.bodies import MAXIMUM_BODY_BYTES
from services.recommendations.gateway.event_intake import EventIntake
from services.recommendations.gateway.impressions import ImpressionSink
from services.recommendations.gateway.pipeline import RecommendationPipeline
from services.recommendations.gateway.readiness import Gateway, Startup
from services.recommendations.gateway.recommender import Recommender
from services.recommendations.gateway.schemas import Readiness, RecommendationAnswer
from services.recommendations.gateway.stage_calls import CallSettings, GuardedCalls
from services.recommendations.gateway.user_states import UserStates
from services.recommendations.types import Candidates
from streamrec.contracts.errors import DependencyError, NotReadyError
from streamrec.events.async_event_log import AsyncEventLog
from streamrec.events.memory_event_log import MemoryEventLog
from streamrec.serving.ladder import FallbackLadder
from streamrec.serving.retry_budget import RetryBudget

TIMEOUTS_MS = dict.fromkeys(("retrieval", "cold_start", "ranking", "reranking"), 1000.0)
NOW = "2024-05-01T12:00:00Z"


class BreakableLog(MemoryEventLog):
    error: Exception | None = None

    def append(self, records, *, durable=True):
        if self.error is not None:
            raise self.error
        super().append(records, durable=durable)


class Service:
    """The application over stand-in stages and a log in memory."""

    def __init__(self, stages, store, *, not_ready=None, maximum_in_flight=64):
        self.stages, self.store, self.not_ready = stages, store, not_ready
        self.log = BreakableLog()
        self.startup = Startup(self.compose)
        self.app = create_app(self.startup, maximum_in_flight=maximum_in_flight)

    async def compose(self, metrics):
        if self.not_ready is not None:
            raise self.not_ready
        table = self.store.item_table()
        log = AsyncEventLog(self.log)
        users = UserStates(self.store)
        pipeline = RecommendationPipeline(
            self.stages.as_stages(),
            FallbackLadder.from_item_table(table),
            table.catalogue.row_of,
            GuardedCalls(CallSettings(timeout_ms=TIMEOUTS_MS), RetryBudget()),
        )

        async def close():
            await log.close()
            users.close()

        return Gateway(
            Recommender(users, pipeline, ImpressionSink(log, metrics), metrics, 1000.0),
            EventIntake(log, users, table.catalogue.row_of, metrics),
            Readiness(model_versions={"ranking": 3}, catalogue_items=len(table.catalogue)),
            close,
        )

    @asynccontextmanager
    async def client(self):
        async with self.app.router.lifespan_context(self.app):
            for _ in range(100):
                if self.startup.gateway is not None or self.startup.blocked:
                    break
                await asyncio.sleep(0.01)
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                yield client

    def call(self, *requests):
        """Send requests (method, path, keyword arguments) one after the other; return the last response."""

        async def run():
            async with self.client() as client:
                return [await client.request(method, path, **rest) for method, path, rest in requests]

        self.responses = asyncio.run(run())
        return self.responses[-1]

    def recommend(self, body=None, **rest):
        return self.call(("POST", "/v1/recommendations", rest or {"json": body}))

    def events(self, *events):
        return self.call(("POST", "/v1/events", {"json": {"events": list(events)}}))


@pytest.fixture
def service(stages, store):
    return Service(stages, store)


def event(**changes):
    return {
        "event_id": "event-1",
        "user_id": "known",
        "item_id": "item-20",
        "kind": "click",
        "occurred_at": NOW,
    } | changes


def problem(response, status=422):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert document["type"].startswith("urn:streamrec:problem:")
    assert document["title"]
    assert document["detail"]
    return document


def test_answer_for_a_known_user(service):
    response = service.recommend({"user_id": "known", "k": 3, "request_id": "mine"})
    assert response.status_code == 200
    answer = RecommendationAnswer.model_validate_json(response.content)
    assert [item.item_id for item in answer.items] == ["item-08", "item-06", "item-10"]
    assert [item.position for item in answer.items] == [0, 1, 2]
    assert (answer.request_id, answer.user_id, answer.rung) == ("mine", "known", "ranked")
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
    assert impression.propensities == (1.0, 1.0, 1.0)
    assert dict(impression.model_versions) == {"retrieval": 1, "ranking": 3, "reranking": 4}


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
    assert service.recommend(content=body(MAXIMUM_BODY_BYTES), headers=headers).status_code == 200
    response = service.recommend(content=body(MAXIMUM_BODY_BYTES + 1), headers=headers)
    assert problem(response)["errors"][0]["field"] == "body"


def test_an_endless_body_is_cut_off_while_it_streams(service):
    sent = 0

    async def endless():
        nonlocal sent
        while sent < 64 * MAXIMUM_BODY_BYTES:  # as good as endless
            sent += 1024
            yield b" " * 1024

    response = service.recommend(content=endless(), headers={"content-type": "application/json"})
    assert problem(response)["errors"][0]["field"] == "body"
    assert response.headers["connection"] == "close"
    assert sent <= MAXIMUM_BODY_BYTES + 2048


@pytest.mark.parametrize("length", ["-1", "1e9", "99999999999999999999", "abc"])
def test_a_false_content_length_is_refused(service, length):
    headers = {"content-type": "application/json", "content-length": length}
    assert problem(service.recommend(content=b"{}", headers=headers))["errors"][0]["field"] == "body"


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


def test_an_error_of_our_own_tells_nothing_of_the_inside(service, store):
    store.error = RuntimeError("secret")
    response = service.recommend({"user_id": "known"})
    problem(response, 500)
    assert "secret" not in response.text


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


def test_a_click_changes_the_next_answer(service):
    ask = ("POST", "/v1/recommendations", {"json": {"user_id": "known", "k": 3}})
    service.call(ask, ("POST", "/v1/events", {"json": {"events": [event(item_id="item-08")]}}), ask)
    before, taken, after = (response.json() for response in service.responses)
    assert "item-08" in [item["item_id"] for item in before["items"]]
    assert taken == {"accepted": 1, "duplicates": 0, "quarantined": []}
    assert "item-08" not in [item["item_id"] for item in after["items"]]


def test_a_skip_is_logged_and_changes_no_history(service, store):
    service.events(event(kind="skip"))
    assert len(service.log.snapshot().outcomes) == 1
    assert "item-20" not in store.users["known"].history


def test_new_users_move_to_retrieval_with_their_fifth_event(service):
    batch = [event(event_id=f"e{row}", user_id="fresh", item_id=f"item-{row:02d}") for row in range(5)]
    ask = ("POST", "/v1/recommendations", {"json": {"user_id": "fresh"}})
    service.call(ask, ("POST", "/v1/events", {"json": {"events": batch}}), ask)
    assert [service.responses[index].json()["cold_start"] for index in (0, 2)] == [True, False]


def test_the_same_event_twice_is_applied_once(service, store):
    send = ("POST", "/v1/events", {"json": {"events": [event(), event()]}})
    service.call(send, send)
    first, second = (response.json() for response in service.responses)
    assert (first["accepted"], first["duplicates"]) == (2, 1)
    assert (second["accepted"], second["duplicates"]) == (2, 2)
    assert store.users["known"].history.count("item-20") == 1
    assert len(service.log.snapshot().outcomes) == 1


def test_the_same_event_at_the_same_time_is_applied_once(service, store):
    async def run():
        async with service.client() as client:
            return await asyncio.gather(
                *(client.post("/v1/events", json={"events": [event()]}) for _ in range(5))
            )

    responses = asyncio.run(run())
    assert sum(response.json()["duplicates"] for response in responses) == 4
    assert store.users["known"].history.count("item-20") == 1


def test_events_of_one_user_at_the_same_time_are_all_kept(service, store):
    async def run():
        async with service.client() as client:
            await asyncio.gather(
                *(
                    client.post(
                        "/v1/events", json={"events": [event(event_id=f"e{row}", item_id=f"item-{row}")]}
                    )
                    for row in range(10, 30)
                )
            )

    asyncio.run(run())
    assert {f"item-{row}" for row in range(10, 30)} <= set(store.users["known"].history)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"item_id": "nowhere"}, "unknown_item"),
        ({"occurred_at": (datetime.now(UTC) + timedelta(days=1)).isoformat()}, "future_dated"),
        ({"occurred_at": "9999-12-31T23:59:59-14:00"}, "future_dated"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "impossible_date"),
    ],
)
def test_impossible_events_are_quarantined_and_counted(service, store, changes, reason):
    service.call(
        ("POST", "/v1/events", {"json": {"events": [event(**changes), event(event_id="good")]}}),
        ("GET", "/metrics", {}),
    )
    answer = service.responses[0].json()
    assert answer["accepted"] == 1
    assert [(set_aside["index"], set_aside["reason"]) for set_aside in answer["quarantined"]] == [(0, reason)]
    (kept,) = service.log.snapshot().quarantined
    assert (kept.event_id, kept.reason) == ("event-1", reason)
    assert f'streamrec_events_quarantined_total{{reason="{reason}"}} 1.0' in service.responses[1].text
    assert store.users["known"].history[-1] == "item-20"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "events"),
        ({"events": []}, "events"),
        ({"events": [{}] * 501}, "events"),
        ({"events": [event(kind="stare")]}, "events.0.kind"),
        ({"events": [event(), event(event_id="")]}, "events.1.event_id"),
        ({"events": [event(occurred_at="yesterday")]}, "events.0.occurred_at"),
        ({"events": [event(occurred_at="2024-05-01T12:00:00")]}, "events.0.occurred_at"),
        ({"events": [event(value="3")]}, "events.0.value"),
        ({"events": [event(value=1e300)]}, "events.0.value"),
        ({"events": [event(extra=1)]}, "events.0.extra"),
        ({"events": [event(user_id="a\x00")]}, "events.0.user_id"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_wrong_field_of_an_event_is_named(service, body, field):
    document = problem(service.call(("POST", "/v1/events", {"json": body})))
    assert document["errors"][0]["field"] == field
    assert not service.log.snapshot().outcomes


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_an_event_value_that_is_not_finite_is_named(service, literal):
    content = json.dumps({"events": [event(value=0.125)]}).replace("0.125", literal).encode()
    response = service.call(
        ("POST", "/v1/events", {"content": content, "headers": {"content-type": "application/json"}})
    )
    assert problem(response)["errors"][0]["field"] == "events.0.value"


def test_events_that_cannot_be_stored_are_not_acknowledged_and_not_applied(service, store):
    async def run():
        async with service.client() as client:
            service.log.error = DependencyError("the disk is full")
            refused = await client.post("/v1/events", json={"events": [event()]})
            history = store.users["known"].history
            service.log.error = None
            return refused, history, await client.post("/v1/events", json={"events": [event()]})

    refused, history, accepted = asyncio.run(run())
    assert problem(refused, 503)["type"].endswith("events-not-stored")
    assert "item-20" not in history
    assert accepted.json()["duplicates"] == 0
    assert "item-20" in store.users["known"].history


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


def test_events_are_acknowledged_while_the_feature_store_is_down(service, store):
    store.error = DependencyError("down")
    assert service.events(event()).json()["accepted"] == 1
    assert len(service.log.snapshot().outcomes) == 1


@pytest.mark.parametrize("path", ["/v1/recommendations", "/v1/events", "/readyz"])
def test_before_it_is_ready_the_service_says_what_is_missing(stages, store, path):
    service = Service(stages, store, not_ready=NotReadyError("model 'recommendations-ranking' is missing"))
    method = "GET" if path == "/readyz" else "POST"
    service.call((method, path, {}), ("GET", "/healthz", {}), ("GET", "/metrics", {}))
    document = problem(service.responses[0], 503)
    assert document["type"].endswith("not-ready")
    assert "recommendations-ranking" in document["detail"]
    assert [response.status_code for response in service.responses[1:]] == [200, 200]


def test_ready_says_with_what(service):
    assert service.call(("GET", "/readyz", {})).json() == {
        "status": "ready",
        "model_versions": {"ranking": 3},
        "catalogue_items": 30,
    }


def test_metrics_count_requests_by_rung_and_status(service, stages):
    stages.ranking.faults = [ValueError("a bug")]
    ask = ("POST", "/v1/recommendations", {"json": {"user_id": "known"}})
    wrong = ("POST", "/v1/recommendations", {"json": {"user_id": "known", "k": 0}})
    text = service.call(ask, ask, wrong, ("GET", "/metrics", {})).text
    assert 'streamrec_requests_total{rung="retrieval_order",status="200"} 1.0' in text
    assert 'streamrec_requests_total{rung="ranked",status="200"} 1.0' in text
    assert 'streamrec_requests_total{rung="none",status="422"} 1.0' in text
    assert 'streamrec_stage_failures_total{stage="ranking"} 1.0' in text
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
    assert "application/problem+json" in post["responses"]["422"]["content"]
    assert "application/problem+json" in post["responses"]["503"]["content"]


def test_docs_page_needs_no_other_host(service):
    response = service.call(("GET", "/docs", {}))
    assert response.status_code == 200
    assert "/v1/events" in response.text
    assert "://" not in response.text.replace("urn:", "")
