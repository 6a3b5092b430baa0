"""The processes of one start of the service, wherever they hang by now, and how they are ended."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from services.recommendations.serving.service_environment import FOLDER_VARIABLE

_PATIENCE_S: Final = 1.0
"""A look takes half a second on a busy machine; whatever is missed, the reaper finds."""

_PAUSE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process, also after its number was given to another one.

    Attributes:
        pid: Its number.
        started_s: When it was started, by the system's clock.
    """

    pid: int
    started_s: float


def descendants(besides: int | None = None) -> frozenset[ProcessIdentity]:
    """The processes below this one now, without the one with the number ``besides``."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        if process.pid == besides:
            continue
        with contextlib.suppress(psutil.Error):
            found.add(ProcessIdentity(process.pid, process.create_time()))
    return frozenset(found)


def kill_known(known: Collection[ProcessIdentity]) -> int:
    """Kill these processes and look for no others, which on a busy machine takes seconds; return how many."""
    return _kill([process for one in known if (process := _process_of(one)) is not None])


def kill_processes_of(folder: Path, known: Collection[ProcessIdentity] = ()) -> int:
    """Kill every process that was started for ``folder``; return how many.

    Told by the folder in the environment or the command line, and not by descent: HAProxy and workers whose
    parent was killed first belong to nobody any more. Looks until two looks in a row find none, since one
    that is being started is not there yet.

    Args:
        folder: Of the start.
        known: More of them. Some of Ray's write their title over both environment and command line.
    """
    killed = kill_known(known)
    empty = 0
    deadline_s = time.monotonic() + _PATIENCE_S
    while empty < 2 and time.monotonic() < deadline_s:
        found = list(_processes_of(folder, known))
        empty = 0 if found else empty + 1
        killed += _kill(found)
        time.sleep(_PAUSE_S)
    return killed


def _kill(processes: Sequence[psutil.Process]) -> int:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=1.0)
    return len(processes)


def _process_of(identity: ProcessIdentity) -> psutil.Process | None:
    """The process, where it is still there, has not ended, and is not this one, which is told of itself."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(identity.pid)
        if process == psutil.Process() or process.create_time() != identity.started_s:
            return None
        if process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _processes_of(folder: Path, known: Collection[ProcessIdentity]) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and (
                ProcessIdentity(process.pid, process.create_time()) in known or _is_of(process, folder)
            ):
                yield process


def _is_of(process: psutil.Process, folder: Path) -> bool:
    if any(str(folder) in argument for argument in process.cmdline()):
        return True
    return bool(process.environ().get(FOLDER_VARIABLE) == str(folder))
