"""Server-sent events of one rollout: what has happened, and how it looks in between."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from services.control_plane.parts import ControlPlaneParts
from streamrec.contracts.errors import OverloadedError, StreamRecError
from streamrec.rollout.driving.transitions import RecordedTransition

CONTENT_TYPE: Final = "text/event-stream"
MAXIMUM_FOLLOWERS: Final = 100
LOOK_EVERY_S: Final = 2.0
LONGEST_S: Final = 3_600.0
"""After this long a stream ends; a client asks again and goes on after the last event that it has."""

ToJson = Callable[[RecordedTransition], Mapping[str, Any]]


class Followers:
    """How many streams are open."""

    def __init__(self, maximum: int = MAXIMUM_FOLLOWERS) -> None:
        self._maximum, self._open, self._lock = maximum, 0, threading.Lock()

    def enter(self) -> None:
        """Take a place. Raises `OverloadedError` where none is left."""
        with self._lock:
            if self._open >= self._maximum:
                raise OverloadedError(f"{self._open} clients follow rollouts already: ask again later")
            self._open += 1

    def leave(self) -> None:
        """Give it back."""
        with self._lock:
            self._open -= 1


_FOLLOWERS: Final = Followers()


def follow(parts: ControlPlaneParts, name: str, after_seq: int, to_json: ToJson) -> StreamingResponse:
    """Stream a rollout's events: ``transition`` (its id is the number of its entry), ``look`` and ``over``.

    Args:
        parts: Of the control plane.
        name: Of the rollout.
        after_seq: Transitions up to this number are known to the client.
        to_json: A transition as it goes over the wire.

    Raises:
        OverloadedError: Too many follow already.
    """
    _FOLLOWERS.enter()
    return _Following(
        _events(parts, name, after_seq, to_json),
        media_type=CONTENT_TYPE,
        headers={"cache-control": "no-store"},
    )


class _Following(StreamingResponse):
    """A stream that gives its place back however it ends, also before its first event."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See `StreamingResponse`."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            _FOLLOWERS.leave()


async def _events(
    parts: ControlPlaneParts, name: str, after_seq: int, to_json: ToJson
) -> AsyncIterator[bytes]:
    for _ in range(int(LONGEST_S / LOOK_EVERY_S)):
        try:
            history = partial(parts.controller.book.history, name, after_seq=after_seq)
            for one in await run_in_threadpool(history):
                after_seq = one.entry.seq
                yield _event("transition", to_json(one), str(after_seq))
            look = await run_in_threadpool(parts.controller.look, name)
        except StreamRecError as error:
            yield _event("problem", {"detail": str(error)})
        else:
            analysis = None if look.analysis is None else look.analysis.to_json()
            content = {
                "state": look.state.to_json(),
                "evidence": look.evidence.to_json(),
                "analysis": analysis,
            }
            yield _event("look", content)
            if look.state.phase.is_over:
                yield _event("over", {"state": look.state.to_json()})
                return
        await asyncio.sleep(LOOK_EVERY_S)


def _event(kind: str, content: Mapping[str, Any], number: str | None = None) -> bytes:
    """One event; the document is one line, so that nothing in it ends the event."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    start = "" if number is None else f"id: {number}\n"
    return f"{start}event: {kind}\ndata: {text}\n\n".encode()
