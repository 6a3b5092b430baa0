"""Methods: HEAD wherever there is GET, OPTIONS everywhere, and a refusal that says what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.recommendations.gateway.edge import problems

_GET: Final = "GET"
_HEAD: Final = "HEAD"
_OPTIONS: Final = "OPTIONS"


class MethodsMiddleware:
    """Answers HEAD like GET without the body, and a path with a slash at its end like the one without."""

    def __init__(self, app: ASGIApp, allowed: Mapping[str, tuple[str, ...]]) -> None:
        """Wrap an application; ``allowed`` has the methods of every path (`allowed_methods`)."""
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what needs no route; pass everything else on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = _without_last_slash(scope["path"])
        allowed = self._allowed.get(path)
        if allowed is None:
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        if method not in allowed:
            headers = {"allow": ", ".join(allowed)}
            await problems.method_not_allowed(method, headers)(scope, receive, send)
        elif method == _OPTIONS:
            response = Response(status_code=HTTPStatus.NO_CONTENT, headers={"allow": ", ".join(allowed)})
            await response(scope, receive, send)
        elif method == _HEAD:
            await self._app({**scope, "path": path, "method": _GET}, receive, _without_body(send))
        else:
            await self._app({**scope, "path": path}, receive, send)


def allowed_methods(app: FastAPI) -> dict[str, tuple[str, ...]]:
    """Return the methods by path, those of the middleware included."""
    allowed: dict[str, tuple[str, ...]] = {}
    for route in app.routes:
        if isinstance(route, Route):
            methods = (route.methods or set()) | {_OPTIONS}
            allowed[route.path] = tuple(sorted(methods | {_HEAD} if _GET in methods else methods))
    return allowed


def _without_last_slash(path: str) -> str:
    return path[:-1] if len(path) > 1 and path.endswith("/") else path


def _without_body(send: Send) -> Send:
    async def send_headers(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_headers
