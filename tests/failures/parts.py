"""The processes of a running service by the part that they are, and what can be done to them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from services.recommendations.serving.application import APPLICATION_NAME
from tests.integration.serving.conftest import ServeProcess

CONTROLLER: Final = "ray::ServeController"
PROXY_MANAGER: Final = "ray::HAProxyManager"


def replicas(service: ServeProcess, deployment: str) -> set[int]:
    """Ids of the processes that are replicas of a deployment."""
    return processes(service, f"ray::ServeReplica:{APPLICATION_NAME}:{deployment}")


def processes(service: ServeProcess, title: str) -> set[int]:
    """Ids of the service's processes whose command line begins so; Ray writes an actor's name there."""
    return {
        pid
        for pid, command in service.session()
        if command.startswith(title) and not command[len(title) :][:1].isalnum()
    }


def proxies(service: ServeProcess) -> set[int]:
    """Ids of the HAProxy processes."""
    return {pid for pid, command in service.session() if Path(command.split(" ", 1)[0]).name == "haproxy"}


def kill_9(pids: Collection[int]) -> float:
    """Kill them at once; return when, by the monotonic clock."""
    _signal(pids, signal.SIGKILL)
    return time.monotonic()


@contextmanager
def frozen(pids: Collection[int]) -> Iterator[None]:
    """Stop them with SIGSTOP during the body."""
    _signal(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):  # the body may have ended it
                os.kill(pid, signal.SIGCONT)


def _signal(pids: Collection[int], number: signal.Signals) -> None:
    """Signal all that are still there, one at least: some may end by themselves."""
    reached = 0
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            reached += 1
    assert reached, "there is no such process"


def wait_until(holds: Callable[[], bool], patience_s: float, what: str) -> float:
    """Wait until something holds; return for how long that took, in seconds."""
    started_s = time.monotonic()
    while not holds():
        assert time.monotonic() - started_s < patience_s, f"after {patience_s:.0f} s still not: {what}"
        time.sleep(0.05)
    return time.monotonic() - started_s


def memory_bytes(service: ServeProcess) -> int:
    """What the service's processes hold by themselves, without what they share."""
    total = 0
    for pid, _ in service.session():
        try:
            total += psutil.Process(pid).memory_full_info().uss
        except psutil.Error:
            continue  # ended while we looked
    return total
