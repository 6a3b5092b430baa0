"""Too many requests: refused at the door, each kind by itself, and nothing else is touched by it."""

from __future__ import annotations

import asyncio

import pytest

from services.recommendations.gateway.edge.shedding import Door, PlaceMiddleware, RefusalMiddleware
from streamrec.serving.admission import Admission
from tests.unit.gateway.service import Service, event, problem


@pytest.fixture
def service(stages, store):
    return Service(stages, store, maximum_in_flight=1)


def beside_a_slow_one(service, *requests):
    """Send requests while one recommendation request, which is slow, holds the only place."""
    service.stages.retrieval.delay_s = 0.1

    async def run():
        async with service.client() as client:
            slow = asyncio.create_task(client.post("/v1/recommendations", json={"user_id": "known"}))
            await service.stages.retrieval.called.wait()
            responses = [await client.request(method, path, **rest) for method, path, rest in requests]
            service.metrics = (await client.get("/metrics")).text
            return await slow, responses

    return asyncio.run(run())


def test_the_excess_is_refused_with_a_problem_and_a_time_to_come_back(service):
    slow, (refused,) = beside_a_slow_one(service, ("POST", "/v1/recommendations", {"json": {}}))
    document = problem(refused, 503)
    assert document["type"].endswith(":overloaded")
    assert refused.headers["retry-after"] == "1"
    assert "connection" not in refused.headers  # it stays open
    assert slow.status_code == 200
    assert 'streamrec_refused_total{reason="no_place",what="recommendations"} 1.0' in service.metrics
    assert 'streamrec_requests_total{rung="none",status="503"} 1.0' in service.metrics
    assert "streamrec_in_flight 1.0" in service.metrics
    assert "streamrec_concurrency_limit 1.0" in service.metrics


def test_a_body_that_is_still_under_way_is_not_waited_for(service):
    gate = asyncio.Event()

    async def never_ends():
        yield b"{"
        await gate.wait()

    _, (refused,) = beside_a_slow_one(service, ("POST", "/v1/recommendations", {"content": never_ends()}))
    assert refused.status_code == 503


def test_a_path_with_a_slash_at_its_end_is_the_same_door(service):
    _, (refused,) = beside_a_slow_one(service, ("POST", "/v1/recommendations/", {"json": {}}))
    assert refused.status_code == 503


@pytest.mark.parametrize(
    ("method", "path", "rest", "status"),
    [
        ("POST", "/v1/events", {"json": {"events": [event()]}}, 200),
        ("GET", "/healthz", {}, 200),
        ("GET", "/readyz", {}, 200),
        ("GET", "/metrics", {}, 200),
        ("GET", "/v1/recommendations", {}, 405),
        ("OPTIONS", "/v1/recommendations", {}, 204),
        ("GET", "/nowhere", {}, 404),
    ],
)
def test_what_is_no_recommendation_is_answered_as_ever(service, method, path, rest, status):
    _, (response,) = beside_a_slow_one(service, (method, path, rest))
    assert response.status_code == status


def test_events_have_places_of_their_own(service):
    async def run():
        async with service.client() as client:
            accept, gate = service.startup.gateway.intake.accept, asyncio.Event()

            async def slow(batch):
                await gate.wait()
                return await accept(batch)

            service.startup.gateway.intake.accept = slow
            first = asyncio.create_task(client.post("/v1/events", json={"events": [event()]}))
            await asyncio.sleep(0.02)
            second = await client.post("/v1/events", json={"events": [event(event_id="event-2")]})
            asked = await client.post("/v1/recommendations", json={"user_id": "known"})
            gate.set()
            return await first, second, asked, (await client.get("/metrics")).text

    first, second, asked, metrics = asyncio.run(run())
    assert (first.status_code, second.status_code, asked.status_code) == (200, 503, 200)
    assert 'streamrec_refused_total{reason="no_place",what="events"} 1.0' in metrics
    assert 'streamrec_refused_total{reason="no_place",what="recommendations"} 0.0' in metrics


def test_a_refusal_reads_no_body_and_wakes_nobody():
    refused, sent = [], []

    async def never(*_):
        raise AssertionError("nobody may be asked")

    async def send(message):
        sent.append(message)

    door = Door(Admission(lambda: 0), lambda: refused.append(None))
    scope = {"type": "http", "method": "POST", "path": "/asked"}
    for middleware in (RefusalMiddleware, PlaceMiddleware):
        asyncio.run(middleware(never, {"/asked": door})(scope, never, send))
    assert len(refused) == 2
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"] * 2
    assert sent[0]["status"] == 503


def test_a_header_that_is_added_to_one_refusal_is_in_no_other():
    headers = []

    async def send(message):
        if "headers" in message:
            message["headers"].append((b"x-own", b"1"))
            headers.append(len(message["headers"]))

    refuse = RefusalMiddleware(None, {"/asked": Door(Admission(lambda: 0), lambda: None)})
    for _ in range(2):
        asyncio.run(refuse({"type": "http", "method": "POST", "path": "/asked"}, None, send))
    assert headers[0] == headers[1]


@pytest.mark.parametrize("ends", ["answered", "failed", "cancelled"])
def test_a_place_is_given_back_however_a_request_ends(ends):
    admission = Admission(lambda: 1)

    async def application(*_):
        assert admission.under_way == 1
        if ends == "failed":
            raise ZeroDivisionError
        if ends == "cancelled":
            raise asyncio.CancelledError

    async def run():
        middleware = PlaceMiddleware(application, {"/asked": Door(admission, lambda: None)})
        scope = {"type": "http", "method": "POST", "path": "/asked"}
        await asyncio.gather(middleware(scope, None, None), return_exceptions=True)

    asyncio.run(run())
    assert admission.under_way == 0


def test_where_models_compute_on_the_loop_one_request_is_served_after_the_other(stages, store):
    service = Service(stages, store)
    under_way, most = [], []

    def followed(name, call):
        async def answer(*asked):
            under_way.append(name)
            most.append(len(under_way))
            try:
                await asyncio.sleep(0.001)
                return await call(*asked)
            finally:
                under_way.pop()

        return answer

    for stage in (stages.retrieval, stages.ranking):
        for method in ("retrieve", "rank"):
            setattr(stage, method, followed(stage.name, getattr(stage, method)))

    async def run():
        async with service.client() as client:
            asked = [client.post("/v1/recommendations", json={"user_id": "known"}) for _ in range(5)]
            return [response.status_code for response in await asyncio.gather(*asked)]

    assert asyncio.run(run()) == [200] * 5
    assert max(most) > 1
    most.clear()
    service = Service(stages, store)
    service.turn = asyncio.Lock()
    assert asyncio.run(run()) == [200] * 5
    assert max(most) == 1


def test_who_does_not_come_to_its_turn_in_time_gets_popular_items_in_time(stages, store):
    service = Service(stages, store)
    service.turn = asyncio.Lock()

    async def run():
        async with service.client() as client, service.turn:
            headers = {"x-request-timeout-ms": "80"}
            late = await client.post("/v1/recommendations", json={"user_id": "known"}, headers=headers)
        async with service.client() as client:
            after = await client.post("/v1/recommendations", json={"user_id": "known"})
            return late, after, (await client.get("/metrics")).text

    late, after, metrics = asyncio.run(run())
    assert 'streamrec_faults_total{dependency="pipeline"' not in metrics  # nothing was wrong
    assert late.json()["rung"] == "popular_in_language"
    assert len(late.json()["items"]) == 10
    assert late.json()["latency_ms"] < 4000.0  # it would have waited for ever
    assert after.json()["rung"] == "ranked"
    assert stages.retrieval.calls == 1


def test_answers_move_the_limit(stages, store):
    service = Service(stages, store)
    measured = []
    service.load.limit.measured = lambda share, _now_s: measured.append(share)
    service.recommend({"user_id": "known"})
    service.recommend({"user_id": "known", "k": 0})  # what is refused for its content says nothing
    assert len(measured) == 1
    assert 0.0 < measured[0] < 1.0


def test_a_stage_that_is_waited_for_in_vain_is_no_sign_of_too_much(stages, store):
    service = Service(stages, store)
    measured = []
    service.load.limit.measured = lambda share, _now_s: measured.append(share)
    stages.ranking.delay_s = 30.0
    response = service.recommend(json={"user_id": "known"}, headers={"x-request-timeout-ms": "400"})
    assert response.json()["skipped"][0] == "ranking"
    assert response.json()["latency_ms"] > 300.0
    assert measured[0] < 0.03  # of five seconds


@pytest.mark.parametrize(("deadline", "status"), [("60", 503), ("2000", 200)])
def test_a_body_that_comes_slowly_moves_nothing(stages, store, deadline, status):
    service = Service(stages, store)
    measured = []
    service.load.limit.measured = lambda share, _now_s: measured.append(share)

    async def trickle():
        yield b'{"user_id"'
        await asyncio.sleep(0.07)
        yield b': "known"}'

    headers = {"content-type": "application/json", "x-request-timeout-ms": deadline}
    assert service.recommend(content=trickle(), headers=headers).status_code == status
    assert measured == []


def test_requests_whose_time_was_over_move_it_too(stages, store):
    service = Service(stages, store)
    measured = []
    service.load.limit.measured = lambda share, _now_s: measured.append(share)
    response = service.recommend(json={"user_id": "known"}, headers={"x-request-timeout-ms": "0.001"})
    assert response.status_code == 503
    # By the service's own measure: a caller in a hurry is no reason to refuse the others.
    assert 0.0 < measured[0] < 1.0
    metrics = service.call(("GET", "/metrics", {})).text
    assert 'streamrec_refused_total{reason="deadline",what="recommendations"} 1.0' in metrics
