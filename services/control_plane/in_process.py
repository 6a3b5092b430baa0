"""The same API without a server, for commands on a workspace that no control plane serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx

from services.control_plane.app import create_app
from services.control_plane.parts import open_parts
from streamrec.command_line.workspace import Workspace

ADDRESS: Final = "http://workspace"
MAXIMUM_TICKS: Final = 20
"""Looks at once, while each of them changes something."""

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


@dataclass(frozen=True)
class InProcess:
    """The control plane within this process.

    Attributes:
        client: Asks it.
        drive: Drives rollouts while something moves; does nothing where another process leads.
    """

    client: httpx.Client
    drive: Callable[[], None]


@contextmanager
def in_process(workspace: Workspace) -> Iterator[InProcess]:
    """Run the control plane on a workspace without a server; each change is driven once by itself."""
    parts = open_parts(workspace, in_process=True)

    def drive() -> None:
        try:
            for _ in range(MAXIMUM_TICKS):
                report = parts.controller.tick()
                if not report.leads or not report.transitions:
                    return
        finally:
            parts.controller.close()

    app = create_app(parts, drives=False)
    try:
        with httpx.Client(transport=InProcessTransport(app), base_url=ADDRESS, timeout=_TIMEOUT_S) as client:
            yield InProcess(client, drive)
    finally:
        parts.close()
