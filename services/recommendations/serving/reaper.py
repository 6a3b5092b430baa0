"""Ends what a start of the service leaves behind, however the service itself ends: also by kill -9.

A process in a session of its own, which no signal to the service's group reaches. It waits until the service
closes the pipe between them, which the system does for one that was killed.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from services.recommendations.serving.owned_processes import kill_processes_of

_PATIENCE_S = 1.0


@contextlib.contextmanager
def reaper_of(folder: Path) -> Iterator[None]:
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
        yield
    finally:
        process.stdin.close()
        # On a busy machine it may take longer; it ends by itself, and nobody has to wait for that.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)


def main() -> None:
    """Wait for the end of the input, then end what is left."""
    folder = Path(sys.stdin.buffer.readline().decode().rstrip("\n"))
    sys.stdin.buffer.read()
    kill_processes_of(folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
