"""Runs commands on a workspace under a HOME of the test's choice, and looks for what they left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
PROGRAM = Path(__file__).with_name("commands_process.py")


def environment_of(root: Path, home: str | None) -> dict[str, str]:
    """The environment of commands on the workspace ``root``; ``home`` is None where HOME is not set."""
    steering = ("XDG_", "MPL", "PYTENSOR", "STREAMREC_", "HOME", "TORCH", "CUDA_CACHE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
    environment["STREAMREC_WORKSPACE"] = str(root)
    environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY / "platform"), str(REPOSITORY)])
    return environment if home is None else {**environment, "HOME": home}


def run(root: Path, home: str | None, *command_lines: str) -> str:
    """Run commands on the workspace ``root`` and return what they printed.

    They must end well, and leave nothing where they were started or among temporary files.
    """
    elsewhere = root.parent / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *command_lines],
        env={**environment_of(root, home), "TMPDIR": str(elsewhere)},
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    elsewhere.rmdir()  # fails where anything is left
    return done.stdout


def files_naming(root: Path, path: Path) -> list[str]:
    """The files below ``root`` that hold the name of ``path``; compiled code apart."""
    name = str(path).encode()
    found = []
    for file in set(root.rglob("*")) - set((root / "library_caches").rglob("*")):
        if file.is_symlink():
            content = os.fsencode(file.readlink())
        elif file.is_file():
            content = file.read_bytes()
        else:
            continue
        if name in content:
            found.append(str(file.relative_to(root)))
    return found
