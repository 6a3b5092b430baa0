"""HTTP over blocking sockets with one deadline for a whole exchange.

httpx's own time-outs count from the last byte that came: a server that sends a byte now and then is waited
for without end. Here every wait is as long as what is left of the deadline. Two things cannot be bounded so,
because the system does them in one call: resolving a host's name, and trying its addresses one after another.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import httpcore
import httpx

from streamrec.serving.deadline import Deadline

_PIECE_BYTES: Final = 64 * 1024
_KEEP_ALIVE_S: Final = 5.0

_DEADLINE: ContextVar[Deadline | None] = ContextVar("deadline", default=None)
"""Of the exchange that this thread is in: blocking I/O is done in the thread that asks for it."""


@contextmanager
def within(deadline: Deadline) -> Iterator[None]:
    """Bound every wait of the body by ``deadline``."""
    before = _DEADLINE.set(deadline)
    try:
        yield
    finally:
        _DEADLINE.reset(before)


class DeadlineTransport(httpx.BaseTransport):
    """A pool of connections whose waits obey `within`. Raises httpcore's exceptions."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        *,
        maximum_connections: int,
        backend: httpcore.NetworkBackend | None = None,
    ) -> None:
        """Make an empty pool.

        Args:
            tls: Whose certificates are trusted.
            maximum_connections: At once.
            backend: Opens connections; by default those of the system.
        """
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls,
            max_connections=maximum_connections,
            keepalive_expiry=_KEEP_ALIVE_S,
            network_backend=_Backend(backend or httpcore.SyncBackend()),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the head of its answer."""
        assert isinstance(request.stream, httpx.SyncByteStream)  # noqa: S101 - of a client that is not async
        response = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


class _Backend(httpcore.NetworkBackend):
    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left_s = _left_s(timeout, httpcore.ConnectTimeout)
        return _Stream(self._backend.connect_tcp(host, port, left_s, local_address, socket_options))


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left_s(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for first in range(0, len(buffer), _PIECE_BYTES):
            piece = buffer[first : first + _PIECE_BYTES]
            self._stream.write(piece, _left_s(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left_s = _left_s(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left_s))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left_s(timeout_s: float | None, late: type[httpcore.TimeoutException]) -> float | None:
    deadline = _DEADLINE.get()
    if deadline is None:
        return timeout_s
    left_s = deadline.remaining_ms() / 1000.0
    if left_s <= 0.0:
        raise late("the deadline is over")
    return left_s if timeout_s is None else min(timeout_s, left_s)
