"""The generator against servers on the loopback that answer what and when a test wants."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from services.recommendations.load_tests.generator import run_load
from services.recommendations.load_tests.schedule import LoadSettings, Schedule

ANSWER = {
    "request_id": "r",
    "items": [{"item_id": "item-0000001", "position": 0, "score": 1.0}],
    "rung": "ranked",
    "degraded": True,
    "stages_ms": {"features": 1.5, "ranking": 2.5, "something_new": 1.0},
}


class Server(socketserver.ThreadingTCPServer):
    """Keep-alive HTTP: ``respond`` makes of a path and a body what is sent back; None closes."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, respond: Callable[[str, bytes], bytes | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.respond = respond
        self.seen: list[tuple[str, dict]] = []
        self.used: set[int] = set()
        self.lock = threading.Lock()

    @property
    def port(self) -> int:
        return self.server_address[1]


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while line := self.rfile.readline():
            length = 0
            while (header := self.rfile.readline()) not in (b"\r\n", b""):
                if header.lower().startswith(b"content-length:"):
                    length = int(header.partition(b":")[2])
            body = self.rfile.read(length)
            path = line.split()[1].decode()
            with self.server.lock:
                self.server.seen.append((path, json.loads(body)))
                self.server.used.add(self.client_address[1])
            answer = self.server.respond(path, body)
            if answer is None:
                return
            self.wfile.write(answer)


def answered(status: int = 200, document: object = ANSWER, more: str = "") -> bytes:
    body = json.dumps(document).encode()
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


@pytest.fixture
def serve():
    started = []

    def start(respond):
        server = Server(respond)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def load(**changed) -> LoadSettings:
    settings = {"rps": 400.0, "duration_s": 0.1, "warm_up_s": 0.0, "event_share": 0.0, "patience_s": 5.0}
    return LoadSettings(**{**settings, **changed})


def test_no_request_waits_for_the_answer_of_another(serve) -> None:
    settings = load()
    expected = len(Schedule.plan(settings))
    everybody = threading.Barrier(expected)

    def respond(_path: str, _body: bytes) -> bytes:
        everybody.wait(5.0)  # a generator that waited for one answer would never send the last request
        return answered()

    server = serve(respond)
    seen = run_load(server.port, settings, time.monotonic())
    assert expected > 20
    assert len(server.seen) == expected
    assert (seen.status == 200).all()
    # All were answered after the last one was sent, and each wait counts from its planned time.
    assert seen.done_s.min() >= seen.sent_s.max()
    assert (seen.sent_s >= seen.times_s).all()


def test_it_takes_from_answers_what_they_say(serve) -> None:
    seen = run_load(serve(lambda _path, _body: answered()).port, load(), time.monotonic())
    assert seen.degraded.all()
    assert (seen.rung == 0).all()
    assert (seen.stages_ms[:, 0] == 1.5).all()
    assert (seen.stages_ms[:, 3] == 2.5).all()
    assert np.isnan(seen.stages_ms[:, 1]).all()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (answered(503), 503),
        (None, 0),
        (answered(200, {"items": "none"}), 0),
        (b"HTTP/1.1 200 OK\r\n\r\n", 0),
        (answered().replace(b"HTTP/1.1", b"HTTP/2.0"), 0),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", 0),
    ],
)
def test_what_is_no_answer_counts_as_none_and_the_rest_is_asked_on(serve, answer, status) -> None:
    settings = load()
    server = serve(lambda _path, _body: answer)
    seen = run_load(server.port, settings, time.monotonic())
    assert (seen.status == status).all()
    assert not np.isnan(seen.done_s).any()  # known as soon as it was seen
    assert len(server.seen) == len(Schedule.plan(settings))


def test_a_connection_that_the_server_closes_carries_no_other_request(serve) -> None:
    server = serve(lambda _path, _body: answered(more="Connection: close\r\n"))
    seen = run_load(server.port, load(), time.monotonic())
    assert (seen.status == 200).all()
    assert len(server.used) == len(seen.status)


def test_who_is_never_answered_is_given_up_after_the_patience(serve) -> None:
    forever = threading.Event()
    server = serve(lambda _path, _body: forever.wait(5.0) and None)
    seen = run_load(server.port, load(patience_s=0.1), time.monotonic())
    forever.set()
    assert len(seen.status) > 3
    assert (seen.status == 0).all()
    assert np.isnan(seen.done_s).all()


def test_beyond_its_connections_a_request_fails_at_once(serve) -> None:
    forever = threading.Event()
    server = serve(lambda _path, _body: forever.wait(5.0) and None)
    seen = run_load(server.port, load(patience_s=0.1, connections=8), time.monotonic())
    forever.set()
    assert len(server.seen) == 8
    assert np.isnan(seen.done_s).sum() == 8
    assert (~np.isnan(seen.done_s)).sum() == len(seen.status) - 8 > 5


def test_a_share_of_the_answers_is_followed_by_an_event_of_that_user(serve) -> None:
    server = serve(lambda path, _body: answered() if "recommendations" in path else answered(200, {}))
    settings = load(event_share=1.0, event_delay_s=0.01)
    seen = run_load(server.port, settings, time.monotonic())
    events = [document["events"][0] for path, document in server.seen if path == "/v1/events"]
    asked = [document["user_id"] for path, document in server.seen if path == "/v1/recommendations"]
    assert len(seen.event_waits_ms) == len(events) == len(asked)
    assert seen.failed_events == 0
    assert sorted(event["user_id"] for event in events) == sorted(asked)
    assert {event["item_id"] for event in events} == {"item-0000001"}
    assert {event["kind"] for event in events} == {"play"}


def test_an_event_that_is_not_acknowledged_is_counted(serve) -> None:
    server = serve(lambda path, _body: answered() if "recommendations" in path else answered(503, {}))
    seen = run_load(server.port, load(event_share=1.0, event_delay_s=0.0), time.monotonic())
    assert seen.failed_events == len(seen.status) > 0
    assert seen.event_waits_ms.size == 0
