"""A document behind HTTP. It is asked for with the ETag of the known version: an unchanged one is a 304."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final
from urllib.parse import SplitResult, urlsplit

from streamrec.contracts.errors import DependencyError, InvalidInputError
from streamrec.documents.store import NoContent, StoredContent

_MAXIMUM_TAG_LENGTH: Final = 256
_CHUNK_BYTES: Final = 16_384
_SCHEMES: Final = ("http", "https")


class HttpDocumentSource:
    """Implements `DocumentSource`. One connection for each read; no redirects, no proxies.

    From the moment that it is connected the whole exchange is bounded in time, and not only each wait in it:
    a server that sends a byte a second is hung up on.
    """

    def __init__(self, url: str, *, timeout_s: float = 2.0) -> None:
        """Set it up; nothing is connected yet.

        Args:
            url: ``http://`` or ``https://``, without a user name and a password, which logs would show.
            timeout_s: Of one attempt to connect, and of the whole exchange after it; above 0.

        Raises:
            InvalidInputError: It is no such URL, or the timeout is not above 0.
        """
        if not timeout_s > 0.0:
            raise InvalidInputError("timeout_s", "must be above 0")
        self._url, self._parts, self._port = url, *_checked(url)
        self._timeout_s = timeout_s

    def __repr__(self) -> str:
        return self._url

    def read(self, maximum_bytes: int, known_tag: str | None = None) -> StoredContent | NoContent:
        """See `DocumentSource.read`. The tag is the ETag, None where there is no usable one."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if known_tag is not None:
            headers["If-None-Match"] = known_tag
        host = self._parts.hostname or ""
        target = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
        connection = http.client.HTTPConnection(host, self._port, timeout=self._timeout_s)
        hung_up = threading.Event()
        try:
            with (
                socket.create_connection((host, self._port), self._timeout_s) as opened,
                _hanging_up_after(self._timeout_s, opened, hung_up),
                closing(self._secured(opened)) as connection.sock,
            ):
                connection.request("GET", target, headers=headers)
                with connection.getresponse() as response:
                    return self._answer(response, maximum_bytes, known_tag)
        except (OSError, http.client.HTTPException) as error:
            problem = f"no whole answer within {self._timeout_s:g} s" if hung_up.is_set() else _text(error)
            raise DependencyError(f"{self._url} cannot be read: {problem}") from error

    def _secured(self, opened: socket.socket) -> socket.socket:
        if self._parts.scheme == "http":
            return opened
        return ssl.create_default_context().wrap_socket(opened, server_hostname=self._parts.hostname)

    def _answer(
        self, response: http.client.HTTPResponse, maximum_bytes: int, known_tag: str | None
    ) -> StoredContent | NoContent:
        if response.status == http.client.NOT_MODIFIED and known_tag is not None:
            return NoContent.UNCHANGED
        if response.status == http.client.NOT_FOUND:
            return NoContent.MISSING
        if response.status != http.client.OK:
            raise DependencyError(f"{self._url} answered with status {response.status}")
        return StoredContent(_body(response, maximum_bytes), _tag(response.getheader("ETag")))


@contextmanager
def _hanging_up_after(timeout_s: float, opened: socket.socket, hung_up: threading.Event) -> Iterator[None]:
    """End the connection after ``timeout_s`` unless the body is done by then, and say so in ``hung_up``."""
    # A handle of its own: the connection may be wrapped or closed meanwhile, and its number used again.
    with opened.dup() as handle:

        def hang_up() -> None:
            hung_up.set()
            try:
                handle.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # the server was faster

        timer = threading.Timer(timeout_s, hang_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _body(response: http.client.HTTPResponse, maximum_bytes: int) -> bytes:
    """Read one byte more than ``maximum_bytes`` at the most.

    Raises:
        http.client.HTTPException: The answer ends before its announced length.
    """
    announced = response.length
    content = bytearray()
    while len(content) <= maximum_bytes:
        chunk = response.read1(min(_CHUNK_BYTES, maximum_bytes + 1 - len(content)))
        if not chunk:
            if announced is not None and len(content) < announced:
                raise http.client.IncompleteRead(bytes(content), announced - len(content))
            break
        content += chunk
    return bytes(content)


def _tag(header: str | None) -> str | None:
    """An ETag that can be sent back; a hostile one is as good as none."""
    if header is None or not 1 <= len(header) <= _MAXIMUM_TAG_LENGTH:
        return None
    return header if header.isascii() and header.isprintable() else None


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


def _checked(url: str) -> tuple[SplitResult, int]:
    problem = "must be http://HOST[:PORT]/PATH or https://..., without a user name"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidInputError("url", problem) from error
    is_plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in _SCHEMES or not parts.hostname or "@" in parts.netloc or not is_plain:
        raise InvalidInputError("url", problem)
    return parts, port or (443 if parts.scheme == "https" else 80)
