"""One part as a process: started in a session of its own, logged, asked whether it is ready, ended."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from services.cli.up.parts import Part

LOG_LIMIT_BYTES: Final = 16 * 1024 * 1024
"""A log that is longer is moved to ``NAME.log.1``; so each part keeps at most twice as much."""

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None
_ANSWER_LIMIT_BYTES: Final = 64 * 1024
_ASK_TIMEOUT_S: Final = 2.0
_TAIL_BYTES: Final = 4_096
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A part is on this machine: a proxy of the environment has no part in it."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a part says of itself.

    Attributes:
        ready: Whether it does what it is there for.
        missing: What it waits for; empty where it is ready, or does not answer yet.
    """

    ready: bool
    missing: str = ""


class PartProcess:
    """A running part."""

    def __init__(self, part: Part, log: Path) -> None:
        """Start it.

        Args:
            part: Which.
            log: Gets what it writes; appended to.

        Raises:
            OSError: The program cannot be started, or the log not be written.
        """
        self.part, self._log = part, log
        bound_log(log)
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                part.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C in the terminal reaches the supervisor alone, which then ends the parts in order.
                start_new_session=True,
                preexec_fn=_end_with_the_supervisor,  # safe: the supervisor has one thread
            )

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def exit_status(self) -> int | None:
        """How it has ended; None while it runs."""
        return self._process.poll()

    def readiness(self) -> Readiness:
        """Ask it. Never raises: a part that does not answer is not ready."""
        try:
            with _DIRECT.open(self.part.url + self.part.ready_path, timeout=_ASK_TIMEOUT_S) as answer:
                return Readiness(answer.status == HTTPStatus.OK)
        except urllib.error.HTTPError as error:
            with error, contextlib.suppress(OSError, ValueError):
                document = json.loads(error.read(_ANSWER_LIMIT_BYTES))
                if isinstance(document, dict):
                    return Readiness(False, str(document.get("detail") or document.get("title") or ""))
            return Readiness(False)
        except (OSError, ValueError):
            return Readiness(False)

    def ask_to_end(self) -> None:
        """Ask it to end in order. Not by SIGINT: what a shell starts in the background ignores that one."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End whatever is left of its session. A helper that outlived its part has no reason to be."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def last_words(self) -> str:
        """The last line that it wrote, for people; empty where there is none."""
        try:
            with self._log.open("rb") as written:
                written.seek(0, os.SEEK_END)
                written.seek(max(0, written.tell() - _TAIL_BYTES))
                lines = written.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def bound_log(log: Path) -> None:
    """Move what a log holds aside where it is too long. Its writer goes on at the beginning.

    Raises:
        OSError: It cannot be written.
    """
    if not log.exists() or log.stat().st_size <= LOG_LIMIT_BYTES:
        return
    shutil.copyfile(log, log.with_name(log.name + ".1"))
    os.truncate(log, 0)


def _end_with_the_supervisor() -> None:
    """In the new process: be asked to end when the supervisor ends, also when that one is killed."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
