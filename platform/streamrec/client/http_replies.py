"""What both shells make of HTTP: the body within its bound, and exceptions as outcomes."""

from __future__ import annotations

import ssl
from typing import Final

import httpcore
import httpx

from streamrec.client.conversation import Failure, NoReply, Reply, Send
from streamrec.client.settings import ClientSettings

LATE_ERRORS: Final = (httpx.TimeoutException, httpcore.TimeoutException)

TRANSPORT_ERRORS: Final = (
    httpx.TransportError,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
)
"""Whatever ends an exchange for a reason that lies in the network or in the other side."""


def tls_context(settings: ClientSettings) -> ssl.SSLContext:
    """Whose certificates are trusted; reads files only where the address is one of ``https``."""
    if not settings.base_url.startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody
    if settings.ca_file is not None:
        return ssl.create_default_context(cafile=settings.ca_file)
    return httpx.create_ssl_context(trust_env=False)


class AnswerTooLargeError(Exception):
    """The answer's body has more bytes than are wanted."""


class ReplyReader:
    """Collects the pieces of one answer."""

    def __init__(self, send: Send, response: httpx.Response) -> None:
        self._maximum_bytes = send.maximum_bytes
        self._response = response
        self._pieces: list[bytes] = []
        self._bytes = 0

    def add(self, piece: bytes) -> None:
        """Keep a piece.

        Raises:
            AnswerTooLargeError: It is more than is wanted.
        """
        self._bytes += len(piece)
        if self._bytes > self._maximum_bytes:
            raise AnswerTooLargeError(f"the answer has more than {self._maximum_bytes} bytes")
        self._pieces.append(piece)

    def reply(self) -> Reply:
        """The answer, once its last piece is there."""
        headers = self._response.headers
        return Reply(self._response.status_code, b"".join(self._pieces), headers.get("retry-after", ""))


def no_reply(error: Exception) -> NoReply:
    """What an exception, one of `TRANSPORT_ERRORS` or `AnswerTooLargeError`, says of the exchange."""
    if isinstance(error, AnswerTooLargeError):
        return NoReply(Failure.UNREADABLE, detail=str(error))
    if isinstance(error, LATE_ERRORS):
        return NoReply(Failure.LATE)
    return NoReply(Failure.BROKEN, type(error).__name__, str(error))
