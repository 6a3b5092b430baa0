"""Who may ask, and how often: decided by the head of a request, before its body is read or its path known."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.recommendations.gateway.edge import problems
from streamrec.callers.follower import CallersFollower
from streamrec.callers.limits import Admitted, CallerLimits, OverLimit
from streamrec.callers.settings import CallerSettings
from streamrec.contracts.callers import CallerLimit
from streamrec.monitoring.caller_metrics import (
    ADMITTED,
    ANONYMOUS,
    NO_CALLERS_FILE,
    UNAUTHORIZED,
    UNKNOWN_CALLER,
    CallerMetrics,
)

_READY_PATH: Final = "/readyz"
_OPEN_PATHS: Final = ("/healthz", _READY_PATH)
"""Asked by whoever starts and restarts processes, which has no token; they say nothing of users."""

_LIMITED_PREFIX: Final = "/v1/"
"""Metrics and documents are no load, and metrics are wanted most when a limit is reached."""

_SWALLOWED_BYTES: Final = 64 * 1024
"""Of a refused request's body: a longer one, or one of unknown length, costs the connection instead."""

_SCHEME_NAME: Final = "caller_token"

UNAUTHORIZED_KIND: Final = problems.Kind(HTTPStatus.UNAUTHORIZED, "unauthorized", "A caller token is needed")
TOO_MANY: Final = problems.Kind(
    HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", "The caller sends too many requests"
)

_HEADERS: Final = {"www-authenticate": "Bearer"}
_UNAUTHORIZED_DETAIL: Final = "Send a valid token: Authorization: Bearer TOKEN."


class CallersMiddleware:
    """Refuses a request without a valid token (401), and one beyond its caller's limits (429).

    The answer is the same for every path, known or not, and for every reason why a token is not valid.
    """

    def __init__(
        self,
        app: ASGIApp,
        follower: CallersFollower | None,
        anonymous_limit: CallerLimit | None,
        metrics: CallerMetrics,
    ) -> None:
        """Wrap an application.

        Args:
            app: Gets the requests that may pass.
            follower: Of the callers file; None lets everybody in.
            anonymous_limit: Of all together where there is no follower.
            metrics: Told of every request.
        """
        self._app = app
        self._follower = follower
        self._anonymous_limit = anonymous_limit
        self._metrics = metrics
        self._limits = CallerLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].rstrip("/")
        headers = Headers(scope=scope)
        admitted = self._admit(path, headers)
        if isinstance(admitted, Response):
            if not _is_short(headers):
                admitted.headers["connection"] = "close"
            await admitted(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            admitted.done()

    def _admit(self, path: str, headers: Headers) -> Admitted | Response:
        name, limit = ANONYMOUS, self._anonymous_limit
        if self._follower is not None:
            directory = self._follower.current()
            if directory is None and path != _OPEN_PATHS[0]:
                return self._blind(self._follower)
            if path in _OPEN_PATHS:
                return Admitted(None)
            caller = None if directory is None else directory.identify(headers.getlist("authorization"))
            if directory is None or caller is None:
                self._metrics.count(UNKNOWN_CALLER, UNAUTHORIZED)
                return problems.problem_response(UNAUTHORIZED_KIND, _UNAUTHORIZED_DETAIL, headers=_HEADERS)
            name, limit = caller.name, caller.limit or directory.default_limit
        admitted = self._limits.admit(name, limit if f"{path}/".startswith(_LIMITED_PREFIX) else None)
        if isinstance(admitted, OverLimit):
            self._metrics.count(name, admitted.limit)
            return _too_many(admitted)
        self._metrics.count(name, ADMITTED)
        return admitted

    def _blind(self, follower: CallersFollower) -> Response:
        """Since the start there was no file that could be read: nobody can be told from a stranger."""
        self._metrics.count(UNKNOWN_CALLER, NO_CALLERS_FILE)
        detail = problems.without_folders(follower.problem)
        return problems.problem_response(problems.NOT_READY, detail, headers=problems.RETRY_AFTER)


def install_callers(app: FastAPI, settings: CallerSettings, metrics: CallerMetrics) -> CallersFollower | None:
    """Put the middleware around what the application has so far, if the settings ask for it.

    Returns:
        Follows the callers file once it is started; None where there is none to follow.
    """
    follower = None
    if settings.file is not None:
        follower = CallersFollower(settings.file, on_refused=metrics.count_refused_file)
        metrics.watch_file(lambda: not follower.problem)
    if follower is not None or settings.anonymous_limit is not None:
        app.add_middleware(
            CallersMiddleware,
            follower=follower,
            anonymous_limit=settings.anonymous_limit,
            metrics=metrics,
        )
    return follower


def describe_callers(document: MutableMapping[str, Any], settings: CallerSettings) -> None:
    """Add to an OpenAPI document what the settings ask of callers."""
    if settings.file is None and settings.anonymous_limit is None:
        return
    if settings.file is not None:
        document["components"].setdefault("securitySchemes", {})[_SCHEME_NAME] = {
            "type": "http",
            "scheme": "bearer",
            "description": "The token of a caller.",
        }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if settings.file is not None and path not in _OPEN_PATHS:
                operation["security"] = [{_SCHEME_NAME: []}]
                operation["responses"] |= _described(UNAUTHORIZED_KIND)
            if path.startswith(_LIMITED_PREFIX):
                operation["responses"] |= _described(TOO_MANY)


def _described(kind: problems.Kind) -> Mapping[str, Any]:
    return {str(status): response for status, response in problems.responses(kind).items()}


def _too_many(over: OverLimit) -> Response:
    seconds = max(1, math.ceil(over.retry_after_s))
    detail = f"The limit of this caller ({over.limit.replace('_', ' ')}) is reached."
    return problems.problem_response(TOO_MANY, detail, headers={"retry-after": str(seconds)})


def _is_short(headers: Headers) -> bool:
    """Whether the body, which nobody will read, is known to be a short one."""
    length = headers.get("content-length", "0")
    return (
        "transfer-encoding" not in headers
        and length.isascii()
        and length.isdigit()
        and len(length) <= len(str(_SWALLOWED_BYTES))
        and int(length) <= _SWALLOWED_BYTES
    )
