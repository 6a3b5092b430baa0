"""Bodies over HTTP: slow, large, compressed, in other encodings; and methods."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib

import pytest

from services.recommendations.gateway.edge.bodies import BodyLimits, BodyMiddleware
from services.recommendations.gateway.schemas import MAXIMUM_REQUEST_BYTES
from tests.unit.gateway.service import Service, event, problem

JSON = {"content-type": "application/json"}
ASKED = json.dumps({"user_id": "known", "k": 3}).encode()


@pytest.fixture
def service(stages, store):
    return Service(stages, store, maximum_in_flight=2)


def ask(service, content, **headers):
    sent = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
    return service.recommend(content=content, headers=sent)


# -- slow ones ----------------------------------------------------------------------------------------


async def trickle(gate):
    yield ASKED[:1]
    await gate.wait()
    yield ASKED[1:]


def test_bodies_under_way_hold_no_place_in_the_service(service):
    async def run():
        gate = asyncio.Event()
        async with service.client() as client:
            slow = [
                asyncio.create_task(
                    client.post("/v1/recommendations", content=trickle(gate), headers=JSON, timeout=60.0)
                )
                for _ in range(80)
            ]
            await asyncio.sleep(0)
            others = [await client.post("/v1/recommendations", content=ASKED, headers=JSON) for _ in range(5)]
            for task in slow[2:]:
                task.cancel()
            gate.set()
            return others, await asyncio.gather(*slow[:2])

    others, slow = asyncio.run(run())
    assert [response.status_code for response in (*others, *slow)] == [200] * 7


def repeated(limits, messages, times):
    """The same request through one middleware, several times: the statuses."""
    statuses = []

    async def application(_scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        if "status" in message:
            statuses.append(message["status"])

    async def run():
        middleware = BodyMiddleware(application, limits, lambda _kind: None)
        for _ in range(times):
            pending = iter(messages)

            async def receive(pending=pending):
                return next(pending)

            await middleware({"type": "http", "path": "/", "headers": [], "method": "POST"}, receive, send)

    asyncio.run(run())
    return statuses


def called(limits, messages, headers=()):
    """Call the middleware alone: what reached the application, and what was answered."""
    reached, answered, refused = [], [], []
    pending = iter(messages)

    async def application(_scope, receive, send):
        reached.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        message = next(pending)
        if callable(message):
            return await message()
        return message

    async def send(message):
        answered.append(message)

    middleware = BodyMiddleware(application, limits, refused.append)
    scope = {"type": "http", "path": "/", "headers": list(headers), "method": "POST"}
    asyncio.run(middleware(scope, receive, send))
    return reached, answered[0]["status"], refused


def piece(body, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


def test_there_is_one_time_for_the_whole_body_however_often_something_comes():
    async def slowly():
        await asyncio.sleep(0.01)
        return piece(b"x")

    limits = BodyLimits(lambda _path: 1_000, timeout_s=0.05)
    reached, status, refused = called(limits, [slowly] * 1_000)
    assert (reached, status, refused) == ([], 408, ["body-too-slow"])


def test_all_bodies_together_are_bounded():
    limits = BodyLimits(lambda _path: 1_000_000, shared_bytes=100_000)
    fits = [piece(b"x" * 160_000), piece(b"x", more=False)]
    assert called(limits, fits)[1] == 200
    assert called(limits, [piece(b"x" * 160_000), piece(b"x" * 10_000, more=False)])[1] == 503


def test_what_is_decoded_counts_for_the_bound():
    limits = BodyLimits(lambda _path: 1_000_000, shared_bytes=100_000)
    packed = [piece(gzip.compress(bytes(500_000)), more=False)]
    assert called(limits, packed, [(b"content-encoding", b"gzip")])[1] == 503


def test_what_a_body_held_is_free_again_when_it_is_answered():
    limits = BodyLimits(lambda _path: 1_000_000, shared_bytes=100_000)
    for bodies in ([piece(b"x" * 160_000, more=False)], [piece(b"x" * 170_000)]):
        statuses = repeated(limits, bodies, 3)
        assert len(set(statuses)) == 1


def test_a_connection_that_is_closed_early_reaches_nobody():
    limits = BodyLimits(lambda _path: 1_000)
    assert called(limits, [piece(b"x"), {"type": "http.disconnect"}])[0] == []


# -- encodings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", "identity, gzip"])
def test_gzip_is_read(service, coding):
    assert ask(service, gzip.compress(ASKED), content_encoding=coding).json()["user_id"] == "known"


def test_gzip_of_several_members_is_read(service):
    content = gzip.compress(ASKED[:5]) + gzip.compress(ASKED[5:])
    assert ask(service, content, content_encoding="gzip").status_code == 200


@pytest.mark.parametrize("coding", ["", "identity"])
def test_a_plain_body_may_say_so(service, coding):
    assert ask(service, ASKED, content_encoding=coding).status_code == 200


@pytest.mark.parametrize("coding", ["br", "zstd", "deflate", "compress", "x" * 1000])
def test_another_encoding_is_named(service, coding):
    response = ask(service, b"whatever", content_encoding=coding)
    assert coding[:40] in problem(response, 415)["detail"]
    assert response.headers["accept-encoding"] == "gzip"


def test_two_encodings_are_refused(service):
    problem(ask(service, gzip.compress(gzip.compress(ASKED)), content_encoding="gzip, gzip"), 415)


def test_a_bomb_is_refused_for_its_size(service):
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    assert len(bomb) <= 2 * MAXIMUM_REQUEST_BYTES  # 64 MiB when decoded
    content = bomb if len(bomb) <= MAXIMUM_REQUEST_BYTES else bomb[:MAXIMUM_REQUEST_BYTES]
    assert "when decoded" in problem(ask(service, content, content_encoding="gzip"), 413)["detail"]


@pytest.mark.parametrize(
    "content",
    [
        ASKED,
        b"",
        gzip.compress(ASKED)[:-5],
        gzip.compress(ASKED) + b"rest",
        b"\x1f\x8b" + bytes(30),
        gzip.compress(b"") * 65,
    ],
    ids=["plain", "empty", "cut", "rest", "damaged", "members"],
)
def test_damaged_gzip_is_named(service, content):
    document = problem(ask(service, content, content_encoding="gzip"))
    assert document["errors"][0]["field"] == "body"
    assert "gzip" in document["detail"]


def test_a_byte_order_mark_is_no_part_of_the_document(service):
    assert ask(service, b"\xef\xbb\xbf" + ASKED).status_code == 200
    batch = b"\xef\xbb\xbf" + json.dumps({"events": [event()]}).encode()
    taken = service.call(("POST", "/v1/events", {"content": batch, "headers": JSON}))
    assert taken.json()["accepted"] == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_other_encodings_of_text_are_refused(service, encoding):
    content = json.dumps({"user_id": "käthe"}, ensure_ascii=False).encode(encoding)
    assert problem(ask(service, content))["errors"][0]["field"] == "body"
    if encoding != "latin-1":
        header = f"application/json; charset={encoding}"
        assert "UTF-8" in problem(ask(service, content, content_type=header))["detail"]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ('{"user_id": "a", "user_id": "b"}', "user_id"),
        ('{"user_id": "a", "context": {"language": "fi", "language": "sv"}}', "context.language"),
    ],
)
def test_a_field_that_stands_there_twice_is_named(service, content, field):
    assert problem(ask(service, content.encode()))["errors"][0]["field"] == field


# -- methods ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"])
def test_head_is_answered_wherever_there_is_get(service, path):
    service.call(("GET", path, {}), ("HEAD", path, {}), ("OPTIONS", path, {}), ("GET", path + "/", {}))
    get, head, options, slash = service.responses
    assert (get.status_code, head.status_code, head.content) == (200, 200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    if path != "/metrics":
        assert head.headers["content-length"] == str(len(get.content))
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert slash.status_code == 200


def test_what_is_allowed_is_said_where_a_method_is_refused(service):
    for method, path, allowed in (
        ("HEAD", "/v1/events", "OPTIONS, POST"),
        ("PUT", "/v1/recommendations", "OPTIONS, POST"),
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
        ("POST", "/docs", "GET, HEAD, OPTIONS"),
    ):
        response = service.call((method, path, {}))
        assert (response.status_code, response.headers["allow"]) == (405, allowed)
    problem(service.call(("PUT", "/v1/recommendations", {})), 405)


def test_a_slash_at_the_end_changes_nothing(service):
    assert (
        service.call(("POST", "/v1/recommendations/", {"content": ASKED, "headers": JSON})).status_code == 200
    )
    problem(service.call(("GET", "//", {})), 404)
