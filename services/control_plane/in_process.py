"""The same API without a server, for commands on a workspace that no control plane serves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx

from services.control_plane.app import create_app
from services.control_plane.parts import open_parts
from streamrec.command_line.workspace import Workspace

ADDRESS: Final = "http://workspace"
_TIMEOUT_S: Final = 600.0


class InProcessTransport(httpx.BaseTransport):
    """Hands requests to the application in an event loop of its own; an answer comes as a whole."""

    def __init__(self, app: Any) -> None:
        self._transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.BaseTransport`."""

        async def ask() -> httpx.Response:
            asked = httpx.Request(
                request.method, request.url, headers=request.headers, content=request.read()
            )
            answer = await self._transport.handle_async_request(asked)
            content = await answer.aread()
            return httpx.Response(answer.status_code, headers=answer.headers, content=content)

        return asyncio.run(ask())


@contextmanager
def in_process_client(workspace: Workspace) -> Iterator[httpx.Client]:
    """A client of the application on a workspace; each change is driven as far as it goes at once."""
    parts = open_parts(workspace, in_process=True)
    app = create_app(parts, drives=False)
    try:
        with httpx.Client(transport=InProcessTransport(app), base_url=ADDRESS, timeout=_TIMEOUT_S) as client:
            yield client
    finally:
        parts.close()
