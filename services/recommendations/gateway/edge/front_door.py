"""The outermost place of a process that answers HTTP: before Ray has begun to work on a request.

Ray makes a task, a context and metrics for every request before it calls the application. That is no matter
for an answer, but several times the cost of a refusal. So the refusal stands before it as well: Ray calls
`middlewares` in every process in which it listens (`RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`), and the
application of that process says with `stand_before_ray` what is done there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

IMPORT_PATH: Final = f"{__name__}:middlewares"
"""What Ray is told."""

Wrap = Callable[[ASGIApp], ASGIApp]

_of_this_process: list[Wrap] = []
"""At most one: Ray makes the middleware by itself, so the two can only meet here."""


def stand_before_ray(wrap: Wrap) -> None:
    """Let requests of this process go through this first."""
    _of_this_process[:] = [wrap]


class FrontDoor:
    """Passes requests through what the application of this process asked for, if there is one."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap what Ray listens with; the application may not be there yet."""
        self._app = app
        self._wrap: Wrap | None = None
        self._wrapped = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""
        for wrap in _of_this_process:
            if wrap is not self._wrap:
                self._wrap, self._wrapped = wrap, wrap(self._app)
        await self._wrapped(scope, receive, send)


def middlewares() -> list[Middleware]:
    """Return what Ray is to put before its own work."""
    return [Middleware(FrontDoor)]
