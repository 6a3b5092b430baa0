from __future__ import annotations

import socket
import sys
import types
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer

from services.cli.spokes import Spoke
from services.cli.up.parts import (
    check_ports,
    control_plane_part,
    serving_parts,
    serving_spokes,
)
from streamrec.contracts.errors import DependencyError, InvalidInputError

serving = typer.Typer()
silent = typer.Typer()


@serving.command("serve")
def serve(workspace: Path = Path(), host: str = "", port: int = 0, wait: bool = False):
    """Serve."""


@serving.command("train")
def train():
    """Train."""


@silent.command("serve")
def serve_otherwise(address: str):
    """Serve in a way of its own."""


@silent.command("look")
def look():
    """Look."""


def spoke(name: str, target: str) -> Spoke:
    return Spoke(name, "a-package 1", EntryPoint(name, f"{target}", "streamrec.spokes"))


def test_spokes_that_serve_are_found_by_the_options_of_their_command(monkeypatch):
    module = types.ModuleType("spokes_of_a_test")
    module.serving, module.silent = serving, silent
    monkeypatch.setitem(sys.modules, "spokes_of_a_test", module)
    found, problems = serving_spokes(
        {
            "broken": spoke("broken", "no_such_module:commands"),
            "first": spoke("first", "spokes_of_a_test:serving"),
            "second": spoke("second", "spokes_of_a_test:silent"),
        }
    )
    assert found == ("first",)
    assert len(problems) == 1
    assert "the spoke 'broken'" in problems[0]


def test_parts_listen_on_ports_that_follow_each_other():
    first, second = serving_parts(("first", "second"), Path("/w"), "127.0.0.1", 9000)
    assert first.command[1:] == (
        "-m", "services.cli", "first", "serve", "--workspace", "/w",
        "--host", "127.0.0.1", "--port", "9000", "--wait",
    )  # fmt: skip
    assert second.url == "http://127.0.0.1:9001"
    with pytest.raises(InvalidInputError, match="leaves no port for each of first, second"):
        serving_parts(("first", "second"), Path("/w"), "127.0.0.1", 65_535)


def test_a_part_that_listens_everywhere_is_asked_on_this_machine():
    assert control_plane_part(Path("/w"), "0.0.0.0", 8080).url == "http://127.0.0.1:8080"


def test_ports_that_are_taken_or_the_same_are_refused_before_anything_starts():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DependencyError, match=rf"127.0.0.1:{port}, for first, .* with --port"):
            check_ports(serving_parts(("first",), Path("/w"), "127.0.0.1", port))
        with pytest.raises(DependencyError, match=r"for control-plane, .* with --api-port"):
            check_ports([control_plane_part(Path("/w"), "127.0.0.1", port)])
    one = serving_parts(("first",), Path("/w"), "127.0.0.1", 9000)
    with pytest.raises(InvalidInputError, match="9000 is the port of first"):
        check_ports([*one, control_plane_part(Path("/w"), "127.0.0.1", 9000)])
