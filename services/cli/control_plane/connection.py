"""Which control plane a command asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import typer

from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import InvalidInputError

if TYPE_CHECKING:
    from services.cli.control_plane.client import ControlPlaneClient

API_VARIABLE: Final = "STREAMREC_API"

ApiOption = Annotated[
    str | None,
    typer.Option(
        "--api",
        envvar=API_VARIABLE,
        metavar="URL",
        help="Control plane to ask, as 'streamrec up' prints it; else this process works on WORKSPACE.",
    ),
]
"""The option of every command that changes what serves."""

_TIMEOUT_S: Final = 60.0
"""A start checks artifacts and publishes documents; over a slow disk that takes seconds."""


@contextmanager
def connected(api: str | None, workspace: Path) -> Iterator[ControlPlaneClient]:
    """A client of the control plane at ``api``; where None, of one in this process, on the workspace.

    Who asks is said by the token in ``STREAMREC_TOKEN``.

    Raises:
        InvalidInputError: ``api`` is no address.
        StreamRecError: The workspace cannot be opened.
    """
    import httpx

    from services.cli.control_plane.client import ControlPlaneClient
    from streamrec.access.staff_file import TOKEN_VARIABLE

    token = os.environ.get(TOKEN_VARIABLE)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    if api is not None:
        with httpx.Client(
            base_url=_checked(api), headers=headers, timeout=_TIMEOUT_S, trust_env=False
        ) as http:
            yield ControlPlaneClient(http)
        return
    from services.control_plane.in_process import in_process

    with in_process(Workspace(workspace)) as here:
        here.client.headers.update(headers)
        yield ControlPlaneClient(here.client, here.drive)


def _checked(api: str) -> str:
    try:
        found = urlsplit(api)
        usable = found.scheme in ("http", "https") and bool(found.hostname) and found.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidInputError("--api", f"{api!r} is no address such as http://127.0.0.1:8010")
    return api.rstrip("/")
