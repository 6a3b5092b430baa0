"""Refusing what is too much, before it costs anything.

A service that is asked for five times what it can do refuses four requests for each one that it answers. So a
refusal is made before a body is read and before the framework looks at the request, of bytes that were made
beforehand, and the connection stays open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.recommendations.gateway.edge import problems
from streamrec.serving.admission import Admission


@dataclass(frozen=True, slots=True)
class Door:
    """What a path's requests go through.

    Attributes:
        admission: Has the places.
        on_refused: Told of every request that found none.
    """

    admission: Admission
    on_refused: Callable[[], None]


class _Doors:
    def __init__(self, app: ASGIApp, doors: Mapping[str, Door]) -> None:
        """Wrap an application.

        Args:
            app: Gets the requests that are not refused.
            doors: By path; requests of other paths pass.
        """
        self._app = app
        self._doors = doors

    def _door(self, scope: Scope) -> Door | None:
        return self._doors.get(scope["path"]) if scope["type"] == "http" else None


class RefusalMiddleware(_Doors):
    """Refuses a request at once where there is no place now. It takes none: a body may be long under way."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        door = self._door(scope)
        if door is None or door.admission.has_room():
            await self._app(scope, receive, send)
        else:
            await _refuse(door, send)


class PlaceMiddleware(_Doors):
    """Holds a place while a request that has come in whole is worked on."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a place and pass on; refuse where there is none any more."""
        door = self._door(scope)
        if door is None:
            await self._app(scope, receive, send)
        elif not door.admission.take():
            await _refuse(door, send)
        else:
            try:
                await self._app(scope, receive, send)
            finally:
                door.admission.leave()


_DETAIL: Final = "More requests came than can be answered in time; this one was refused before it was read."
_REFUSAL: Final[Response] = problems.problem_response(
    problems.OVERLOADED, _DETAIL, headers=problems.RETRY_AFTER
)
_START: Final[Message] = {
    "type": "http.response.start",
    "status": _REFUSAL.status_code,
    "headers": _REFUSAL.raw_headers,
}
_BODY: Final[Message] = {"type": "http.response.body", "body": _REFUSAL.body}


async def _refuse(door: Door, send: Send) -> None:
    door.on_refused()
    # Middleware on the way out may add headers to what it is given.
    await send({**_START, "headers": list(_REFUSAL.raw_headers)})
    await send(_BODY)
