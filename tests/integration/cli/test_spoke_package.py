"""A spoke as a package of its own: built as a wheel, installed by pip, run by the real command."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

FILES = {
    "greeting_spoke.py": (
        "import typer\n"
        "commands = typer.Typer(help='Greetings.')\n"
        "@commands.command('hello')\n"
        "def hello() -> None:\n"
        "    '''Greet.'''\n"
        "    typer.echo('hello from a spoke')\n"
    ),
    "greeting_spoke-3.4.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeting-spoke\nVersion: 3.4\n",
    "greeting_spoke-3.4.dist-info/WHEEL": (
        "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ),
    "greeting_spoke-3.4.dist-info/entry_points.txt": (
        "[streamrec.spokes]\ngreeting = greeting_spoke:commands\n"
    ),
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder that the wheel is installed into."""
    wheel = tmp_path_factory.mktemp("dist") / "greeting_spoke-3.4-py3-none-any.whl"
    record = "greeting_spoke-3.4.dist-info/RECORD"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
        archive.writestr(record, "".join(f"{name},,\n" for name in [*FILES, record]))
    target = tmp_path_factory.mktemp("site-packages")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-index", "--no-deps", "--no-compile", "--target", str(target), str(wheel)]
    subprocess.run(command, check=True, timeout=120)
    return target


def streamrec(installed, *arguments):
    path = os.pathsep.join([str(installed), str(ROOT / "platform"), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        cwd=installed,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_lists_it_beside_our_own(installed):
    done = streamrec(installed, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    spokes = done.stdout.partition("Spokes:")[2]
    assert "greeting         Greetings." in spokes
    assert "recommendations" in spokes


def test_its_command_runs(installed):
    done = streamrec(installed, "greeting", "hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello from a spoke\n", "")
