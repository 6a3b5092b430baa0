"""Callers over HTTP: who may ask, how often, and what a refusal gives away."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from services.recommendations.gateway.edge.callers import CallersMiddleware
from streamrec.callers.callers_file import CallersFile
from streamrec.callers.settings import CallerSettings
from streamrec.callers.tokens import new_token
from streamrec.contracts.callers import CallerLimit
from tests.unit.gateway.service import Service, event, problem

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
ASKED = {"user_id": "known", "k": 3}
RECOMMEND, EVENTS = "/v1/recommendations", "/v1/events"


@pytest.fixture
def file(tmp_path):
    return CallersFile(tmp_path / "callers.json")


@pytest.fixture
def token(file):
    return file.add("spoke", None, NOW, HOUR).secret


@pytest.fixture
def service(stages, store, file, token):
    assert token  # the file is there before the service is
    return Service(stages, store, callers=CallerSettings(file.path))


def follower_of(service):
    (installed,) = (kept for kept in service.app.user_middleware if kept.cls is CallersMiddleware)
    return installed.kwargs["follower"]


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def limit(requests_per_s=0.01, burst=2, in_flight=None):
    return CallerLimit(requests_per_s=requests_per_s, burst=burst, maximum_in_flight=in_flight)


def post(path=RECOMMEND, body=ASKED, **headers):
    return ("POST", path, {"json": body, "headers": headers})


def metric(service, line):
    rendered = service.startup.metrics.render()[0].decode()
    found = [float(text.rpartition(" ")[2]) for text in rendered.splitlines() if text.startswith(line + " ")]
    return found[0] if found else 0.0


# -- who may ask ---------------------------------------------------------------------------------------


def test_a_caller_with_a_token_is_answered(service, token):
    service.call(post(**bearer(token)), post(EVENTS, {"events": [event()]}, **bearer(token)))
    assert [response.status_code for response in service.responses] == [200, 200]
    assert metric(service, 'streamrec_caller_requests_total{caller="spoke",result="admitted"}') == 2


def test_every_refusal_is_the_same_to_the_byte(service, file, token):
    expired = file.add("late", None, NOW - 2 * HOUR, HOUR).secret
    revoked = file.add("gone", None, NOW, HOUR).secret
    file.revoke("gone", None)
    wrong = token[:-5] + ("AAAAA" if token[-5:] != "AAAAA" else "BBBBB")
    stranger = new_token(NOW, NOW + HOUR).secret
    tokens = [wrong, expired, revoked, stranger, "x", "", "ä".encode().decode("latin-1")]
    requests = [post(authorization=f"Bearer {sent}".encode("latin-1")) for sent in tokens]
    requests += [post(), post(authorization="Basic dTpw"), post(authorization=token)]
    requests += [post(body={"k": "wrong"}), post(EVENTS, {"events": []})]
    for path in ("/nowhere", "/v1/nowhere", "/metrics", "/docs", "/openapi.json", "/", "//", "/healthz/x"):
        requests += [(method, path, {}) for method in ("GET", "POST", "DELETE", "OPTIONS")]
    service.call(*requests)
    answers = {
        (response.status_code, response.content, tuple(sorted(response.headers.items())))
        for response in service.responses
    }
    assert len(answers) == 1
    document = problem(service.responses[0], 401)
    assert document["type"] == "urn:streamrec:problem:unauthorized"
    assert service.responses[0].headers["www-authenticate"] == "Bearer"
    assert metric(service, 'streamrec_caller_requests_total{caller="unknown",result="unauthorized"}') == len(
        requests
    )


def test_head_is_refused_like_get(service):
    assert service.call(("HEAD", "/metrics", {})).status_code == 401


def test_health_and_readiness_stay_open(service):
    service.call(
        ("GET", "/healthz", {}), ("GET", "/readyz", {}), ("GET", "/readyz/", {}), ("HEAD", "/healthz", {})
    )
    assert [response.status_code for response in service.responses] == [200] * 4


def test_with_a_token_the_rest_is_as_ever(service, token):
    paths = ("/metrics", "/docs", "/openapi.json", "/nowhere")
    service.call(*(("GET", path, {"headers": bearer(token)}) for path in paths))
    assert [response.status_code for response in service.responses] == [200, 200, 200, 404]


def test_a_body_is_not_read_before_its_sender_is_known(service):
    read = []

    async def body():
        read.append(1)
        yield b"x" * 1000

    refused = service.call(("POST", RECOMMEND, {"content": body()}))
    assert refused.status_code == 401
    assert read == []
    assert refused.headers["connection"] == "close"  # of unknown length: nobody waits for its end


@pytest.mark.parametrize(("length", "closed"), [(10, False), (65_536, False), (65_537, True), (10**15, True)])
def test_a_long_body_that_nobody_reads_costs_its_connection(service, length, closed):
    refused = service.call(("POST", RECOMMEND, {"content": b"x", "headers": {"content-length": str(length)}}))
    assert refused.status_code == 401
    assert ("connection" in refused.headers) is closed


def test_a_rotation_and_a_revocation_count_while_it_serves(service, file, token):
    async def run():
        statuses = []
        async with service.client() as client:

            async def ask(sent):
                statuses.append((await client.post(RECOMMEND, json=ASKED, headers=bearer(sent))).status_code)

            follower = follower_of(service)
            new = file.rotate("spoke", NOW, HOUR, timedelta(0)).secret
            follower.refresh()
            await ask(token)
            await ask(new)
            file.path.write_bytes(b"damaged")
            follower.refresh()
            await ask(new)
            gauge = metric(service, "streamrec_callers_file_good")
        return statuses, gauge

    statuses, good = asyncio.run(run())
    assert statuses == [401, 200, 200]
    assert good == 0.0
    assert metric(service, 'streamrec_callers_file_refused_total{reason="malformed"}') == 1


def test_the_file_is_followed_as_long_as_the_service_runs(service):
    def following():
        return any(thread.name == "callers" for thread in threading.enumerate())

    async def run():
        async with service.client():
            return following()

    assert asyncio.run(run())
    assert not following()


def test_without_a_file_that_can_be_read_nobody_is_let_in_and_readiness_says_why(stages, store, file):
    service = Service(stages, store, callers=CallerSettings(file.path))
    service.call(("GET", "/readyz", {}), ("GET", "/healthz", {}), post(authorization="Bearer x"))
    ready, healthy, asked = service.responses
    assert "callers.json" in problem(ready, 503)["detail"]
    assert str(file.path) not in ready.text
    assert healthy.status_code == 200
    problem(asked, 503)
    assert asked.headers["retry-after"] == "1"


def test_callers_are_not_told_apart_unless_asked_for(stages, store):
    service = Service(stages, store)
    service.call(post(), ("GET", "/metrics", {}))
    assert [response.status_code for response in service.responses] == [200, 200]
    assert "streamrec_caller_requests_total{" not in service.responses[1].text


# -- how often -----------------------------------------------------------------------------------------


def test_one_callers_flood_leaves_the_others_alone(service, file, token):
    other = file.add("calm", None, NOW, HOUR).secret
    file.limit(None, limit(burst=3))
    service = Service(service.stages, service.store, callers=CallerSettings(file.path))
    service.call(*[post(**bearer(token))] * 20, post(**bearer(other)))
    assert [response.status_code for response in service.responses] == [200] * 3 + [429] * 17 + [200]
    refused = service.responses[5]
    assert problem(refused, 429)["type"] == "urn:streamrec:problem:too-many-requests"
    assert 90 <= int(refused.headers["retry-after"]) <= 100
    assert metric(service, 'streamrec_caller_requests_total{caller="spoke",result="rate"}') == 17


def test_a_callers_own_limit_goes_before_the_default(service, file, token):
    file.limit(None, limit(burst=1))
    file.limit("spoke", limit(burst=2))
    service = Service(service.stages, service.store, callers=CallerSettings(file.path))
    service.call(*[post(**bearer(token))] * 4)
    assert [response.status_code for response in service.responses] == [200, 200, 429, 429]


def test_metrics_and_documents_are_not_limited(service, file, token):
    file.limit(None, limit(burst=1))
    service = Service(service.stages, service.store, callers=CallerSettings(file.path))
    service.call(post(**bearer(token)), *[("GET", "/metrics", {"headers": bearer(token)})] * 5)
    assert {response.status_code for response in service.responses} == {200}


def test_everybody_together_can_be_limited_without_tokens(stages, store):
    service = Service(stages, store, callers=CallerSettings(anonymous_limit=limit(burst=2)))
    service.call(*[post(EVENTS, {"events": [event()]})] * 4, ("GET", "/metrics", {}), ("GET", "/readyz", {}))
    assert [response.status_code for response in service.responses] == [200, 200, 429, 429, 200, 200]
    assert metric(service, 'streamrec_caller_requests_total{caller="anonymous",result="rate"}') == 2


def test_a_caller_holds_only_its_share_of_what_is_under_way(service, file, token):
    file.limit("spoke", limit(requests_per_s=1000.0, burst=1000, in_flight=2))
    other = file.add("calm", None, NOW, HOUR).secret
    service = Service(service.stages, service.store, callers=CallerSettings(file.path))

    async def run():
        gate = asyncio.Event()

        async def slow():
            yield json.dumps(ASKED).encode()[:1]
            await gate.wait()
            yield json.dumps(ASKED).encode()[1:]

        headers = {"content-type": "application/json"} | bearer(token)
        async with service.client() as client:
            held = [
                asyncio.create_task(client.post(RECOMMEND, content=slow(), headers=headers)) for _ in range(2)
            ]
            for _ in range(1000):
                if metric(service, 'streamrec_caller_requests_total{caller="spoke",result="admitted"}') == 2:
                    break
                await asyncio.sleep(0)
            third = await client.post(RECOMMEND, json=ASKED, headers=bearer(token))
            neighbour = await client.post(RECOMMEND, json=ASKED, headers=bearer(other))
            gate.set()
            first = await asyncio.gather(*held)
            again = await client.post(RECOMMEND, json=ASKED, headers=bearer(token))
        return [response.status_code for response in (third, neighbour, *first, again)], third

    statuses, refused = asyncio.run(run())
    assert statuses == [429, 200, 200, 200, 200]
    assert refused.headers["retry-after"] == "1"


def test_a_place_is_given_back_whatever_happens(service):
    async def broken(_scope, _receive, _send):
        raise RuntimeError

    middleware = CallersMiddleware(
        broken, None, limit(1000.0, 1000, in_flight=1), service.startup.metrics.callers
    )
    scope = {"type": "http", "path": RECOMMEND, "headers": [], "method": "POST"}
    for _ in range(3):
        with pytest.raises(RuntimeError):
            asyncio.run(middleware(scope, None, None))


# -- what the document says ----------------------------------------------------------------------------


def test_the_api_document_names_the_scheme_where_tokens_are_asked_for(service, token):
    document = service.call(("GET", "/openapi.json", {"headers": bearer(token)})).json()
    assert document["components"]["securitySchemes"]["caller_token"]["scheme"] == "bearer"
    asked = document["paths"][RECOMMEND]["post"]
    assert asked["security"] == [{"caller_token": []}]
    assert {"401", "429"} <= set(asked["responses"])
    assert "security" not in document["paths"]["/healthz"]["get"]
    assert "401" not in document["paths"]["/readyz"]["get"]["responses"]


def test_the_api_document_says_nothing_of_callers_where_all_are_let_in(stages, store):
    document = Service(stages, store).call(("GET", "/openapi.json", {})).json()
    assert "securitySchemes" not in document["components"]
    assert not {"401", "429"} & set(document["paths"][RECOMMEND]["post"]["responses"])


def test_there_is_no_anonymous_limit_beside_a_file(file):
    with pytest.raises(ValueError, match="nobody is anonymous"):
        CallerSettings(file.path, limit())
