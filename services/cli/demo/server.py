"""The server that the demo talks to: the real `streamrec recommendations serve`, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

import httpx

from streamrec.contracts.errors import DependencyError

_READY_TIMEOUT_S: Final = 180.0
_POLL_INTERVAL_S: Final = 0.25
_LOG_TAIL_LINES: Final = 15


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """A server started by ``command``; a context manager that never leaves it running.

    The process leads a session of its own, so that Ctrl-C in the terminal reaches the demo alone, which then
    stops the server in order.
    """

    STOP_PATIENCE_S: ClassVar = 40.0
    """How long the server may take to end after SIGTERM; then it is killed."""

    def __init__(
        self,
        command: Sequence[str],
        base_url: str,
        log_file: Path,
        *,
        ready_timeout_s: float = _READY_TIMEOUT_S,
    ) -> None:
        """Remember what to start; nothing runs before the context is entered.

        Args:
            command: Program and arguments.
            base_url: Where it will listen.
            log_file: Gets its stdout and stderr; replaced.
            ready_timeout_s: Longest wait for ``/readyz``.
        """
        self._command = tuple(command)
        self.base_url = base_url
        self._log_file = log_file
        self._ready_timeout_s = ready_timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def streamrec(cls, workspace: Path, log_file: Path, host: str = "127.0.0.1") -> Self:
        """Return this installation's `streamrec recommendations serve` over ``workspace``, on a free port."""
        port = free_port(host)
        command = (
            sys.executable, "-m", "services.cli", "recommendations", "serve",
            "--workspace", str(workspace.resolve()), "--host", host, "--port", str(port),
        )  # fmt: skip
        return cls(command, f"http://{host}:{port}", log_file)

    def __enter__(self) -> Self:
        """Start the server and wait until it is ready.

        Raises:
            DependencyError: It ended, or did not become ready in time; the message has its last words.
        """
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """Process id, None unless running."""
        return self._process.pid if self._process is not None else None

    def stop(self) -> None:
        """Ask the server to stop; if it does not, kill it with everything in its session."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            # Not SIGINT: whatever a shell starts in the background, and all below it, ignores that one.
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self.STOP_PATIENCE_S)
        finally:
            # Also when the wait is interrupted, and after an orderly end: a helper process that outlived its
            # server has no reason to be.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self._ready_timeout_s
        with httpx.Client(base_url=self.base_url, timeout=5.0, trust_env=False) as http:
            while time.monotonic() < deadline:
                if process.poll() is not None:
                    raise DependencyError(
                        f"the server ended with exit code {process.returncode} before it was ready; "
                        f"its log {self._log_file} ends with: {self._log_tail()}"
                    )
                try:
                    if http.get("/readyz").status_code == httpx.codes.OK:
                        return
                except httpx.TransportError:
                    pass  # not listening yet
                time.sleep(_POLL_INTERVAL_S)
        raise DependencyError(
            f"the server was not ready after {self._ready_timeout_s:.0f} s; "
            f"its log {self._log_file} ends with: {self._log_tail()}"
        )

    def _log_tail(self) -> str:
        lines = self._log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-_LOG_TAIL_LINES:] if line.strip()) or "(nothing)"
