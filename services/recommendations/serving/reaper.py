"""Ends what a start of the service leaves behind, however the service itself ends: also by kill -9.

A process in a session of its own, which no signal to the service's group reaches. It waits until the service
closes the pipe between them, which the system does for one that was killed.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final

from services.recommendations.serving.owned_processes import ProcessIdentity, kill_processes_of

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
        lines = "".join(f"{process.pid} {process.started_s!r}\n" for process in processes)
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
    known = set()
    for line in lines:
        pid, started_s = line.split()
        known.add(ProcessIdentity(int(pid), float(started_s)))
    kill_processes_of(folder, known)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
