"""Which parts make the platform of one machine, and by which command each is started."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.cli.spokes import Spoke, SpokeLoadError, load_commands
from streamrec.contracts.errors import DependencyError, InvalidInputError

CONTROL_PLANE: Final = "control-plane"

_SERVE: Final = "serve"
_SERVE_OPTIONS: Final = ("--workspace", "--host", "--port", "--wait")
"""A spoke whose command `serve` takes all of these is started by `streamrec up`."""

_LONGEST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the platform.

    Attributes:
        name: For people, and of its log.
        command: Program and arguments.
        host: Where it listens.
        port: The same.
        ready_path: Answers 200 once the part does what it is there for; says in problem+json what is missing
            before that.
        does: What it is for, in a few words.
        stop_patience_s: How long it may take to end when it is asked to.
    """

    name: str
    command: tuple[str, ...]
    host: str
    port: int
    ready_path: str
    does: str
    stop_patience_s: float = 15.0

    @property
    def url(self) -> str:
        """Where it answers, seen from this machine."""
        return f"http://{'127.0.0.1' if self.host in ('0.0.0.0', '') else self.host}:{self.port}"  # noqa: S104


def serving_spokes(spokes: Mapping[str, Spoke]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The spokes that serve, by name; and one line for each that cannot be loaded."""
    serving: list[str] = []
    problems: list[str] = []
    for name, spoke in spokes.items():
        try:
            command = load_commands(spoke).commands.get(_SERVE)
        except SpokeLoadError as error:
            problems.append(str(error))
            continue
        if command is not None and _takes(command, _SERVE_OPTIONS):
            serving.append(name)
    return tuple(serving), tuple(problems)


def serving_parts(spokes: Sequence[str], workspace: Path, host: str, port: int) -> tuple[Part, ...]:
    """One part a spoke, on consecutive ports from ``port`` on.

    Raises:
        InvalidInputError: There are not so many ports.
    """
    if port + len(spokes) - 1 > _LONGEST_PORT:
        raise InvalidInputError(
            "--port", f"leaves no port for each of {', '.join(spokes)}: choose a lower one"
        )
    return tuple(
        Part(
            name=spoke,
            command=(
                sys.executable, "-m", "services.cli", spoke, _SERVE,
                "--workspace", str(workspace), "--host", host, "--port", str(number), "--wait",
            ),
            host=host,
            port=number,
            ready_path="/readyz",
            does="answers requests",
        )
        for number, spoke in enumerate(spokes, start=port)
    )  # fmt: skip


def control_plane_part(workspace: Path, host: str, port: int) -> Part:
    """The control plane with the controller of rollouts in it."""
    return Part(
        name=CONTROL_PLANE,
        command=(
            sys.executable, "-m", "services.control_plane",
            "--workspace", str(workspace), "--host", host, "--port", str(port),
        ),
        host=host,
        port=port,
        ready_path="/readyz",
        does="drives rollouts; the API of models, rollouts and the ledger",
    )  # fmt: skip


def check_ports(parts: Sequence[Part]) -> None:
    """Refuse ports that somebody listens on, before anything is started.

    Raises:
        InvalidInputError: Two parts would have the same port.
        DependencyError: A port is taken, or may not be used.
    """
    seen: dict[int, str] = {}
    for part in parts:
        if part.port in seen:
            raise InvalidInputError(
                "--api-port", f"{part.port} is the port of {seen[part.port]}: choose another one"
            )
        seen[part.port] = part.name
    for part in parts:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((part.host, part.port))
            except OSError as error:
                option = "--api-port" if part.name == CONTROL_PLANE else "--port"
                raise DependencyError(
                    f"{part.host}:{part.port}, for {part.name}, cannot be used: {error.strerror}. Stop what "
                    f"listens there, or choose another port with {option}"
                ) from error


def _takes(command: Any, options: Sequence[str]) -> bool:
    known = {option for parameter in command.params for option in parameter.opts}
    return known.issuperset(options)
