"""What a blocking socket is given to wait: never more than is left."""

from __future__ import annotations

import ssl

import httpcore
import httpx
import pytest

from streamrec.client.deadline_transport import DeadlineTransport, within
from streamrec.serving.deadline import Deadline


class Network(httpcore.NetworkBackend, httpcore.NetworkStream):
    """One connection, on which every operation takes ten seconds of a clock that the test owns."""

    def __init__(self):
        self.now_s = 0.0
        self.waits = []
        self.written = b""
        self.pieces = [b"HTTP/1.1 200 OK\r\n", b"content-length: 2\r\n\r\n", b"o", b"k"]

    def spend(self, what, timeout_s):
        self.waits.append((what, timeout_s))
        self.now_s += 10.0

    def connect_tcp(self, _host, _port, timeout, *_rest):
        self.spend("connect", timeout)
        return self

    def start_tls(self, _ssl_context, _server_hostname, timeout):
        self.spend("tls", timeout)
        return self

    def read(self, _max_bytes, timeout):
        self.spend("read", timeout)
        return self.pieces.pop(0)

    def write(self, buffer, timeout):
        self.written += bytes(buffer)
        self.spend("write", timeout)

    def close(self):
        pass


def post(network, budget_s, url="http://service/"):
    transport = DeadlineTransport(
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), maximum_connections=1, backend=network
    )
    deadline = Deadline.after_ms(budget_s * 1000.0, lambda: network.now_s)
    with httpx.Client(transport=transport) as client, within(deadline):
        return client.post(url, content=b"x" * 100_000, timeout=budget_s).text


def test_each_wait_is_what_the_ones_before_it_left():
    network = Network()
    assert post(network, 100.0) == "ok"
    assert network.written.endswith(b"\r\n\r\n" + b"x" * 100_000)
    assert network.waits == [
        ("connect", 100.0),
        ("write", 90.0),  # the head
        ("write", 80.0),  # and the body, in two pieces
        ("write", 70.0),
        ("read", 60.0),
        ("read", 50.0),
        ("read", 40.0),
        ("read", 30.0),
    ]


def test_a_handshake_counts_too():
    network = Network()
    assert post(network, 100.0, "https://service/") == "ok"
    assert network.waits[:3] == [("connect", 100.0), ("tls", 90.0), ("write", 80.0)]


@pytest.mark.parametrize(
    ("budget_s", "late"), [(25.0, httpcore.WriteTimeout), (45.0, httpcore.ReadTimeout)], ids=str
)
def test_nothing_is_begun_when_nothing_is_left(budget_s, late):
    network = Network()
    with pytest.raises(late):
        post(network, budget_s)
    assert all(timeout_s > 0.0 for _, timeout_s in network.waits)
