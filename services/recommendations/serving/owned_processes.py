"""The processes of one start of the service, wherever they hang by now, and how they are ended."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from services.recommendations.serving.service_environment import FOLDER_VARIABLE


def kill_processes_of(folder: Path) -> int:
    """Kill every process that was started with ``folder`` in its environment; return how many.

    Told by the environment and not by descent: HAProxy and workers whose parent was killed first belong to
    nobody any more.
    """
    killed = 0
    # Twice: one that was being started during the first look is there by the second.
    for _ in range(2):
        found = list(_processes_of(folder))
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=1.0)
        killed += len(found)
    return killed


def _processes_of(folder: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and (
                process.environ().get(FOLDER_VARIABLE) == str(folder)
            ):
                yield process
