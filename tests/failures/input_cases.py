"""Case 16 of what the platform must survive, and what a request's own fields can do of case 15."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import httpx

from tests.failures.load import Answers
from tests.failures.parts import memory_bytes
from tests.failures.services import BreakableService

REFUSED_MS: Final = 50.0
MORE_MEMORY_BYTES: Final = 50 * 1024 * 1024
HUGE_BYTES: Final = 300 * 1000 * 1000
SLOW_CLIENTS: Final = 20
REPEATS: Final = 9

_HEAD: Final = b"POST /v1/recommendations HTTP/1.1\r\nhost: s\r\ncontent-type: application/json\r\n"
_PIECE: Final = b" " * 65_536

WRONG: Final[dict[str, tuple[bytes, int]]] = {
    "cut short": (b'{"user_id": "u"', 422),
    "no JSON": (b"\xff\xfe\x00", 422),
    "deep": (b'{"user_id":' + b"[" * 30_000 + b"]" * 30_000 + b"}", 422),
    "huge k": (b'{"user_id": "u", "k": 1000000000}', 422),
    "long number": (b'{"user_id": "u", "k": ' + b"9" * 5_000 + b"}", 422),
}
"""Bodies, and the status of the answer to each."""

COLUMNS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "dropped": ({}, "user_id"),
    "renamed": ({"user_id": "u", "context": {"locale": "fi"}}, "context.locale"),
    "retyped": ({"user_id": "u", "context": {"language": 7}}, "context.language"),
    "empty": ({"user_id": "u", "context": {"language": ""}}, "context.language"),
}
"""Requests with a column that is not as it should be, and the field that the answer names."""


@dataclass(frozen=True)
class Neighbours:
    """What other clients saw.

    Attributes:
        before: Answers to requests of before the attack.
        during: To those of during it.
        memory_bytes: By how much the service grew, at most.
    """

    before: Answers
    during: Answers
    memory_bytes: int


def wrong_columns(service: BreakableService) -> None:
    """Case 15 at the door: 422, and the field is named."""
    with service.client() as client:
        for name, (body, field) in COLUMNS.items():
            response = client.post("/v1/recommendations", json=body)
            assert response.status_code == 422, name
            assert field in response.text, name


def attack(service: BreakableService, before_s: float) -> Neighbours:
    """Case 16: all of it at once, while others ask; each request is refused at once."""
    with service.load() as load:
        service.warm_up()
        begin_s = time.monotonic()
        time.sleep(before_s)
        usual_bytes = memory_bytes(service.running)
        attacked_s = time.monotonic()
        with highest_memory(service) as highest, slow_clients(service):
            for name, (body, status) in WRONG.items():
                refusals = [ask(service, body) for _ in range(REPEATS)]
                assert {found for found, _ in refusals} == {status}, name
                assert median(spent_ms for _, spent_ms in refusals) <= REFUSED_MS, name
            for head in (b"content-length: %d\r\n\r\n" % HUGE_BYTES, b"transfer-encoding: chunked\r\n\r\n"):
                assert pour(service, head) == 413
        ended_s = time.monotonic()
        answers = load.finish()
    seen = Neighbours(
        answers.between(begin_s, attacked_s),
        answers.between(attacked_s, ended_s),
        max(highest) - usual_bytes,
    )
    print(f"\n  before: {seen.before.said()}\n  during: {seen.during.said()}")
    print(f"  memory +{seen.memory_bytes / 2**20:.0f} MiB")
    assert seen.during.failed == []
    assert seen.memory_bytes <= MORE_MEMORY_BYTES
    return seen


def ask(service: BreakableService, body: bytes) -> tuple[int, float]:
    """Send one body on a connection of its own; return the status and the milliseconds that it took."""
    with connected(service) as connection:
        began_s = time.monotonic()
        connection.sendall(_HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
        status = status_of(connection)
        return status, (time.monotonic() - began_s) * 1000.0


def pour(service: BreakableService, head: bytes) -> int:
    """Send a body of 300 MB until there is an answer; return its status."""
    chunked = b"chunked" in head
    with connected(service) as connection:
        connection.sendall(_HEAD + head)
        connection.settimeout(0.0)
        sent = 0
        while sent < HUGE_BYTES:
            try:
                piece = b"%x\r\n%s\r\n" % (len(_PIECE), _PIECE) if chunked else _PIECE
                connection.settimeout(0.2)
                connection.sendall(piece)
                sent += len(piece)
            except OSError:  # it is no longer read
                break
            connection.settimeout(0.0)
            try:
                if connection.recv(1, socket.MSG_PEEK):
                    break
            except BlockingIOError:
                continue
        assert sent < HUGE_BYTES, "all of it was taken"
        connection.settimeout(5.0)
        return status_of(connection)


@contextmanager
def slow_clients(service: BreakableService) -> Iterator[None]:
    """Clients that promise a body and send a byte a second."""
    stopped = threading.Event()
    with ExitStack() as connections:
        slow = [connections.enter_context(connected(service)) for _ in range(SLOW_CLIENTS)]
        for connection in slow:
            connection.sendall(_HEAD + b"content-length: 999\r\n\r\n")

        def drip() -> None:
            while not stopped.wait(1.0):
                for connection in slow:
                    connection.sendall(b" ")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            yield
        finally:
            stopped.set()
            dripping.join()


def slow_client_is_let_go(service: BreakableService, patience_s: float) -> None:
    """Case 16: whoever sends a byte a second is told, in the end, that this takes too long."""
    with connected(service) as connection:
        connection.sendall(_HEAD + b"content-length: 999\r\n\r\n")
        connection.settimeout(1.0)
        deadline_s = time.monotonic() + patience_s
        while time.monotonic() < deadline_s:
            try:
                assert status_of(connection) == 408
                return
            except TimeoutError:
                connection.sendall(b" ")
    raise AssertionError(f"after {patience_s:.0f} s the client is still listened to")


@contextmanager
def highest_memory(service: BreakableService) -> Iterator[list[int]]:
    """What the service holds, looked at again and again."""
    seen: list[int] = []
    stopped = threading.Event()

    def look() -> None:
        while not stopped.wait(0.25):
            seen.append(memory_bytes(service.running))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        stopped.set()
        looking.join()
        seen.append(memory_bytes(service.running))


def connected(service: BreakableService) -> socket.socket:
    """A connection of its own."""
    address = httpx.URL(service.running.url)
    return socket.create_connection((address.host, address.port or 80), timeout=15.0)


def status_of(connection: socket.socket) -> int:
    """The status of the answer, which must be a problem document."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65_536)
        assert piece, f"the connection was closed after {received!r}"
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65_536)
    status = int(head.split()[1])
    assert json.loads(body)["status"] == status
    return status
