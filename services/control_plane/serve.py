"""The control plane as a process of its own."""

from __future__ import annotations

from typing import Final

import uvicorn

from services.control_plane.app import create_app
from services.control_plane.parts import open_parts
from streamrec.command_line.workspace import Workspace

DEFAULT_PORT: Final = 8010
_GRACEFUL_STOP_S: Final = 5
_MAXIMUM_CONNECTIONS: Final = 256


def serve(workspace: Workspace, *, host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> None:
    """Answer, and drive rollouts, until a signal ends it.

    Args:
        workspace: Whose control plane it is.
        host: Address to listen at; this machine alone by default.
        port: TCP port.
    """
    app = create_app(open_parts(workspace))
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=_GRACEFUL_STOP_S,
        limit_concurrency=_MAXIMUM_CONNECTIONS,
        timeout_keep_alive=15,
        server_header=False,
    )
