"""Reading request bodies: bounded while they stream in, then parsed strictly."""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.recommendations.gateway import problems
from streamrec.contracts.errors import InvalidInputError

MAXIMUM_BODY_BYTES: Final = 64 * 1024
_BODY_TIMEOUT_S: Final = 10.0
_JSON: Final = "application/json"

M = TypeVar("M", bound=BaseModel)


class _BodyRefusedError(Exception):
    """The body is too large or too slow; what is wrong is the message."""


class BodyLimitMiddleware:
    """Refuses a body above the limit with a 422, without ever holding more than the limit."""

    def __init__(
        self, app: ASGIApp, maximum_bytes: int = MAXIMUM_BODY_BYTES, timeout_s: float = _BODY_TIMEOUT_S
    ) -> None:
        self._app = app
        self._maximum_bytes = maximum_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with a counting ``receive``."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        too_large = f"must be at most {self._maximum_bytes} bytes"
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or len(declared) > 18 or int(declared) > self._maximum_bytes:
            await self._refuse(too_large, scope, receive, send)
            return
        received = 0
        whole = False
        started = False

        async def counting_receive() -> Message:
            nonlocal received, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout(self._timeout_s):
                    message = await receive()
            except TimeoutError as error:
                raise _BodyRefusedError(f"did not arrive within {self._timeout_s:.0f} s") from error
            received += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if received > self._maximum_bytes:
                raise _BodyRefusedError(too_large)
            return message

        async def noting_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, counting_receive, noting_send)
        except _BodyRefusedError as error:
            if started:
                raise
            await self._refuse(str(error), scope, receive, send)

    async def _refuse(self, problem: str, scope: Scope, receive: Receive, send: Send) -> None:
        # The rest of the body is still under way: the connection cannot be used again.
        response = problems.invalid_input(problems.BODY, problem, {"connection": "close"})
        await response(scope, receive, send)


async def parse_body(request: Request, model: type[M]) -> M:
    """Read and validate a JSON body.

    The parser is pydantic's own: it refuses NaN, Infinity, lone surrogates and deep nesting with an error
    that names the field, which the standard library's does not.

    Raises:
        InvalidInputError: The content type is not JSON; names the field ``body``.
        ValidationError: The body does not fit; names the fields.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != _JSON:
        raise InvalidInputError(problems.BODY, f"must be sent with the content type {_JSON}")
    try:
        body = await request.body()
    except ClientDisconnect as error:
        raise InvalidInputError(problems.BODY, "the connection was closed before its end") from error
    return model.model_validate_json(body)


__all__ = ["MAXIMUM_BODY_BYTES", "BodyLimitMiddleware", "ValidationError", "parse_body"]
