"""Processor time and memory of a service: of all processes below the one that was started, by kind."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import psutil

GATEWAY: Final = "gateway"
STAGES: Final = "stages"
PROXY: Final = "proxy"
RAY: Final = "ray"
DRIVER: Final = "driver"

KINDS: Final = (GATEWAY, STAGES, PROXY, RAY, DRIVER)
"""The replicas, gateway and stages; what takes the requests; Ray's own; the process that was started."""

_MEBIBYTE: Final = 1 << 20


def kind_of(command_line: str) -> str:
    """What a process below the one that was started is, by its command line, which Ray's workers set."""
    if "ServeReplica" in command_line:
        deployment = command_line.split()[0].rpartition(":")[2].partition(".")[0]
        return GATEWAY if deployment == GATEWAY else STAGES
    if "haproxy" in command_line.lower() or "ProxyActor" in command_line:
        return PROXY
    return RAY


@dataclass(frozen=True)
class ProcessTimes:
    """Processor time at one moment.

    Attributes:
        seconds: By process number and start: what it is, and the time that it has used.
    """

    seconds: Mapping[tuple[int, float], tuple[str, float]]

    @classmethod
    def of(cls, root: int, root_kind: str) -> Self:
        """Look at a process and everything below it.

        Args:
            root: Its number.
            root_kind: What it is.
        """
        seconds = {}
        for process, kind in _tree(root, root_kind):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                seconds[process.pid, process.create_time()] = (kind, times.user + times.system)
        return cls(seconds)

    def since(self, before: ProcessTimes) -> dict[str, float]:
        """Seconds by kind that were used since; processes that ended meanwhile are missing."""
        used = dict.fromkeys(KINDS, 0.0)
        for process, (kind, now_s) in self.seconds.items():
            used[kind] += now_s - before.seconds.get(process, (kind, 0.0))[1]
        return used


def memory_mib(root: int, root_kind: str) -> dict[str, float]:
    """Memory by kind that belongs to the processes alone, in MiB; what they share is left out."""
    memory = dict.fromkeys(KINDS, 0.0)
    for process, kind in _tree(root, root_kind):
        with contextlib.suppress(psutil.Error):
            memory[kind] += process.memory_full_info().uss / _MEBIBYTE
    return memory


def _tree(root: int, root_kind: str) -> list[tuple[psutil.Process, str]]:
    found = []
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(root)
        found.append((process, root_kind))
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                found.append((child, kind_of(" ".join(child.cmdline()) or child.name())))
    return found
