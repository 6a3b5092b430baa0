"""Reading request bodies: whole before anything else happens, within one time, one size, and decoded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.recommendations.gateway.edge import problems
from services.recommendations.gateway.edge.content_codings import (
    SUPPORTED,
    CodingError,
    DecodedTooLargeError,
    coding_of,
    gunzip,
)

BODY_TIMEOUT_S: Final = 10.0
_FREE_BYTES: Final = 64 * 1024
_SHARED_BYTES: Final = 64 * 1024 * 1024
_LONGEST_LENGTH_DIGITS: Final = 18
_TOOK_MS: Final = "body_ms"


class _RefusedError(Exception):
    def __init__(self, kind: problems.Kind, problem: str) -> None:
        super().__init__(problem)
        self.kind = kind
        self.problem = problem


class _Memory:
    """What all bodies hold at once, beyond the first bytes of each."""

    def __init__(self, maximum_bytes: int) -> None:
        self._maximum_bytes = maximum_bytes
        self._used_bytes = 0

    def exchange(self, before: int, after: int) -> int:
        """Let a body of ``before`` bytes be one of ``after``, and return that; refuse what does not fit."""
        more = max(0, after - _FREE_BYTES) - max(0, before - _FREE_BYTES)
        if more > 0 and self._used_bytes + more > self._maximum_bytes:
            raise _RefusedError(problems.OVERLOADED, "does not fit in beside the bodies that are being read")
        self._used_bytes += more
        return after


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a body may take.

    Attributes:
        maximum_bytes: Largest body by path, as it is sent and after it is decoded.
        timeout_s: Time for the whole body, however it is cut into pieces.
        shared_bytes: Memory for all bodies at once, beyond the first 64 KiB of each. A body that does not fit
            is refused as an overload.
    """

    maximum_bytes: Callable[[str], int]
    timeout_s: float = BODY_TIMEOUT_S
    shared_bytes: int = _SHARED_BYTES


class BodyMiddleware:
    """Hands a request on once its body is complete, so that a slow one holds no place in the service.

    Refuses a body that is too large (413), too slow (408) or in an encoding that is not read (415), and never
    holds more than the limit.
    """

    def __init__(self, app: ASGIApp, limits: BodyLimits, on_refused: Callable[[str], None]) -> None:
        """Wrap an application.

        Args:
            app: Gets requests with their whole body, decoded.
            limits: What a body may take.
            on_refused: Told the kind of problem of every body that is refused.
        """
        self._app = app
        self._limits = limits
        self._on_refused = on_refused
        self._memory = _Memory(limits.shared_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, then pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        maximum = self._limits.maximum_bytes(scope["path"])
        chunks: list[bytes] = []
        held = 0

        def keep(chunk: bytes) -> None:
            nonlocal held
            if held + len(chunk) > maximum:
                raise _too_large(maximum)
            held = self._memory.exchange(held, held + len(chunk))
            chunks.append(chunk)

        try:
            try:
                gzipped = _check_headers(Headers(scope=scope), maximum)
                began_s = time.monotonic()
                await self._read(receive, keep)
                scope.setdefault("state", {})[_TOOK_MS] = (time.monotonic() - began_s) * 1000.0
                body = b"".join(chunks)
                chunks.clear()
                if gzipped:
                    body = _decoded(body, maximum)
                    held = self._memory.exchange(held, len(body))
            except _RefusedError as error:
                self._on_refused(error.kind.slug)
                await _refusal(error)(scope, receive, send)
                return
            await self._app(scope, _replay(body, receive), send)
        finally:
            self._memory.exchange(held, 0)

    async def _read(self, receive: Receive, keep: Callable[[bytes], None]) -> None:
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _RefusedError(
                            problems.INVALID_INPUT, "the connection was closed before its end"
                        )
                    keep(message.get("body", b""))
                    more = message.get("more_body", False)
        except TimeoutError as error:
            raise _RefusedError(
                problems.TOO_SLOW, f"did not arrive within {self._limits.timeout_s:g} s"
            ) from error


def body_ms_of(scope: Scope) -> float:
    """How long the body of a request that came through `BodyMiddleware` was waited for."""
    return float(scope["state"][_TOOK_MS])


def _too_large(maximum: int) -> _RefusedError:
    return _RefusedError(problems.TOO_LARGE, f"must be at most {maximum} bytes")


def _check_headers(headers: Headers, maximum: int) -> bool:
    """Return whether the body is compressed; refuse what need not be read to be refused."""
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise _RefusedError(problems.INVALID_INPUT, "has a content-length that is no number")
    if len(length) > _LONGEST_LENGTH_DIGITS or int(length) > maximum:
        raise _too_large(maximum)
    try:
        return coding_of(headers.getlist("content-encoding")) is not None
    except CodingError as error:
        raise _RefusedError(problems.UNSUPPORTED_ENCODING, str(error)) from error


def _decoded(body: bytes, maximum: int) -> bytes:
    try:
        return gunzip(body, maximum)
    except DecodedTooLargeError as error:
        raise _RefusedError(problems.TOO_LARGE, f"must be at most {maximum} bytes when decoded") from error
    except CodingError as error:
        raise _RefusedError(problems.INVALID_INPUT, str(error)) from error


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body in one piece, then what comes after it."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _refusal(error: _RefusedError) -> Response:
    # The rest of the body may still be under way: the connection cannot be used again.
    headers = {"connection": "close"}
    if error.kind is problems.UNSUPPORTED_ENCODING:
        headers["accept-encoding"] = ", ".join(SUPPORTED)
    if error.kind is problems.OVERLOADED:
        headers |= problems.RETRY_AFTER
    return problems.about_field(error.kind, problems.BODY, error.problem, headers)
