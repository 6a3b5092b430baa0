"""Ends what a start of the service leaves behind, however the service itself ends: also by kill -9.

A process in a session of its own, which no signal to the service's group reaches. It waits until the service
closes the pipe between them, which the system does for one that was killed. A stop has a time limit, too: a
service in which a library hangs, and lets no other thread run, cannot end itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final

from services.recommendations.serving.owned_processes import ProcessIdentity, kill_known, kill_processes_of

_STOPS: Final = "stops"
_PATIENCE_S: Final = 0.2
"""Whoever stops the service has ten seconds in all, and the reaper ends without anybody."""


class Reaper:
    """The pipe to the process that ends what is left.

    Attributes:
        pid: Of that process.
    """

    def __init__(self, pid: int, pipe: IO[bytes]) -> None:
        self.pid = pid
        self._pipe = pipe

    def tell(self, processes: Iterable[ProcessIdentity]) -> None:
        """Name processes that it could not tell by the folder alone. Without a reaper nothing happens."""
        self._write("".join(f"{process.pid} {process.started_s!r}\n" for process in processes))

    def expect_stop(self, processes_s: float, service_s: float) -> None:
        """Say that the service stops now, and by when what is killed that has not ended by itself.

        Args:
            processes_s: The processes of the start are killed so many seconds from now.
            service_s: And so many seconds from now the service itself.
        """
        self._write(f"{_STOPS} {os.getpid()} {processes_s!r} {service_s!r}\n")

    def _write(self, lines: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._pipe.write(lines.encode())
            self._pipe.flush()


@contextlib.contextmanager
def reaper_of(folder: Path) -> Iterator[Reaper]:
    """Have the processes and files of ``folder`` ended after the body, or after the death of this process."""
    # The folder is told through the pipe: in the command line it would make the reaper one of its own.
    process = subprocess.Popen(
        [sys.executable, "-m", "services.recommendations.serving.reaper"],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None  # noqa: S101 - asked for above
    process.stdin.write(f"{folder}\n".encode())
    process.stdin.flush()
    try:
        yield Reaper(process.pid, process.stdin)
    finally:
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)


def main() -> None:
    """Read until the end of the input, then end what is left."""
    lines = iter(sys.stdin)
    folder = Path(next(lines).rstrip("\n"))
    known: set[ProcessIdentity] = set()
    over = threading.Event()
    for line in lines:
        words = line.split()
        if words[0] == _STOPS:
            limits = (over, known, int(words[1]), float(words[2]), float(words[3]))
            threading.Thread(target=_limit, args=limits, daemon=True).start()
        else:
            known.add(ProcessIdentity(int(words[0]), float(words[1])))
    over.set()
    kill_processes_of(folder, known)
    shutil.rmtree(folder, ignore_errors=True)


def _limit(
    over: threading.Event, known: set[ProcessIdentity], service: int, processes_s: float, service_s: float
) -> None:
    """Kill what a stop has not ended in time. Once it is over, whoever had the service may live on."""
    asked_s = time.monotonic()
    if over.wait(processes_s):
        return
    kill_known(frozenset(known))
    if over.wait(max(0.0, asked_s + service_s - time.monotonic())):
        return
    if os.getppid() == service:  # else it has ended, and its number may be another's
        os.kill(service, signal.SIGKILL)


if __name__ == "__main__":
    main()
