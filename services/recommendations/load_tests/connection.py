"""One keep-alive HTTP/1.1 connection of the load generator: a request out, an answer in, and its time.

A general client costs a multiple of what the service spends on some requests; this one does what the
generator needs and nothing else: bodies of known length, no redirects, no retries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_CLOSE: Final = b"connection: close"
_STATUS: Final = slice(9, 12)
_MAXIMUM_HEAD_BYTES: Final = 64 * 1024

FAILED: Final = 0
"""Status of a request that got no answer that can be read."""

OnAnswer = Callable[["Connection", int, bytes], None]
"""Called with the connection, the status (`FAILED` without an answer) and the body."""


class Connection(asyncio.Protocol):
    """Carries one request at a time. Free again once its answer is there, unless it is closed."""

    __slots__ = ("_body_start", "_buffer", "_length", "_on_answer", "_transport", "is_open")

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._on_answer: OnAnswer | None = None
        self._buffer = bytearray()
        self._body_start = 0
        self._length = 0
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream protocol gets a stream
        self._transport = transport
        self.is_open = True

    def send(self, request: bytes, on_answer: OnAnswer) -> None:
        """Send a whole request."""
        self._on_answer = on_answer
        self._body_start = 0
        self._buffer.clear()
        if self._transport is None or not self.is_open:
            self._finish(FAILED, b"")
            return
        self._transport.write(request)

    def close(self) -> None:
        """Close; a request under way gets no answer any more."""
        self._on_answer = None
        self.is_open = False
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._on_answer is None:
            self.close()  # nobody asked
            return
        self._buffer += data
        if not self._body_start and not self._read_head():
            return
        if len(self._buffer) >= self._body_start + self._length:
            body = bytes(self._buffer[self._body_start : self._body_start + self._length])
            self._finish(int(self._buffer[_STATUS]), body)

    def connection_lost(self, _error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.is_open = False
        if self._on_answer is not None:
            self._finish(FAILED, b"")

    def _read_head(self) -> bool:
        """Whether the head is whole; closes where it cannot be read."""
        end = self._buffer.find(_HEAD_END)
        if end < 0:
            if len(self._buffer) > _MAXIMUM_HEAD_BYTES:
                self._give_up()
            return False
        head = bytes(self._buffer[:end]).lower() + b"\r\n"
        start = head.find(_LENGTH)
        try:
            if start < 0 or not head.startswith(b"http/1.1 "):
                raise ValueError
            self._length = int(head[start + len(_LENGTH) : head.index(b"\r\n", start)])
            int(head[_STATUS])
        except ValueError:
            self._give_up()
            return False
        self._body_start = end + len(_HEAD_END)
        if _CLOSE in head:
            self.is_open = False
        return True

    def _give_up(self) -> None:
        on_answer = self._on_answer
        self.close()
        if on_answer is not None:
            on_answer(self, FAILED, b"")

    def _finish(self, status: int, body: bytes) -> None:
        on_answer, self._on_answer = self._on_answer, None
        if not self.is_open and self._transport is not None:
            self._transport.close()
        if on_answer is not None:
            on_answer(self, status, body)
