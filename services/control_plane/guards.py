"""What every request passes before a route sees it: the size of its body, and whether it is a repetition.

A change that carries an ``Idempotency-Key`` is made once. Who sends it again, because the answer was lost, is
given the first answer; also after a restart.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.control_plane.idempotency import KeptAnswer, KeptAnswers, Repetition
from services.control_plane.problems import of_error, problem_response
from streamrec.contracts.errors import StreamRecError

MAXIMUM_BODY_BYTES: Final = 262_144
BODY_TIMEOUT_S: Final = 10.0
IDEMPOTENCY_HEADER: Final = b"idempotency-key"
_LONGEST_KEY: Final = 128
_CHANGES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class RequestGuards:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp, answers: KeptAnswers) -> None:
        self._app, self._answers = app, answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on with the body read."""
        if scope["type"] != "http" or scope["method"] not in _CHANGES:
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await _read(receive)
        except TimeoutError:
            refusal = problem_response(
                HTTPStatus.REQUEST_TIMEOUT,
                "body-too-slow",
                "The body came too slowly",
                f"it must be there within {BODY_TIMEOUT_S:.0f} s",
            )
            await refusal(scope, receive, send)
            return
        if body is None:
            refusal = problem_response(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "body-too-large",
                "The body is too large",
                f"at most {MAXIMUM_BODY_BYTES:,} bytes are read",
            )
            await refusal(scope, receive, send)
            return
        headers = dict(scope["headers"])
        key = headers.get(IDEMPOTENCY_HEADER)
        if key is None:
            await self._app(scope, _replayed(body), send)
            return
        await self._once(scope, body, key, headers.get(b"authorization", b""), send)

    async def _once(self, scope: Scope, body: bytes, key: bytes, token: bytes, send: Send) -> None:
        text = key.decode("latin-1")
        if not (1 <= len(text) <= _LONGEST_KEY and text.isascii() and text.isprintable()):
            refusal = problem_response(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "invalid-input",
                "The request is not valid",
                f"Idempotency-Key: must be 1 to {_LONGEST_KEY} printable characters",
            )
            await refusal(scope, _replayed(b""), send)
            return
        # Whoever asks, and what: the same key of somebody else is another one. No token is kept.
        asker = hashlib.sha256(token + b"\0" + text.encode()).hexdigest()
        asked = hashlib.sha256(
            b"\0".join((scope["method"].encode(), scope["raw_path"], scope["query_string"], body))
        ).hexdigest()
        try:
            kept = await run_in_threadpool(self._answers.begin, asker, asked)
        except StreamRecError as error:
            await of_error(error)(scope, _replayed(b""), send)
            return
        if kept is not None:
            await _answer(scope, kept, send)
            return
        seen = _Seen(send)
        try:
            await self._app(scope, _replayed(body), seen)
        except BaseException:
            await run_in_threadpool(self._answers.forget, asker)
            raise
        if seen.status >= HTTPStatus.BAD_REQUEST:
            await run_in_threadpool(self._answers.forget, asker)  # nothing was decided: it may be tried again
        else:
            await run_in_threadpool(self._answers.keep, asker, seen.answer)


class _Seen:
    """Sends on, and remembers what was sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = HTTPStatus.INTERNAL_SERVER_ERROR.value
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self._headers = message["status"], list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
        await self._send(message)

    @property
    def answer(self) -> KeptAnswer:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._headers}
        return KeptAnswer(self.status, json.dumps(headers), bytes(self._body))


async def _answer(scope: Scope, kept: KeptAnswer | Repetition, send: Send) -> None:
    if isinstance(kept, Repetition):
        status = HTTPStatus.CONFLICT if kept is Repetition.UNDER_WAY else HTTPStatus.UNPROCESSABLE_ENTITY
        refusal = problem_response(status, "repeated", "The Idempotency-Key was used before", kept.words)
        await refusal(scope, _replayed(b""), send)
        return
    headers: MutableMapping[str, str] = json.loads(kept.headers)
    headers["idempotency-replayed"] = "true"
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": kept.status, "headers": raw})
    await send({"type": "http.response.body", "body": kept.body})


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None where it is too large."""
    body = bytearray()
    while True:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > MAXIMUM_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replayed(body: bytes) -> Receive:
    """What hands on a body that was read; then waits for ever, as a client that stays does."""
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
