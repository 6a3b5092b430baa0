"""Locks between processes. The system lets go of every one of them however its process ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout, lock_descriptor

from streamrec.contracts.errors import OverloadedError

LOCK_SUFFIX: Final = ".lock"

_POLL_INTERVAL_S: Final = 0.01

_WRITER_TIMEOUT_S: Final = 10.0
"""Whoever writes a small file holds its lock for an instant; one that is killed lets go of it at once."""


@contextmanager
def only_holder(path: Path, held: str, *, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold the lock file ``path`` during the body. The file stays: removing it would let two hold it at once.

    Args:
        path: The lock file; its folder must exist.
        held: The message of the error where another holds it: what is under way, and what to do.
        timeout_s: How long to wait for another holder; 0 does not wait.

    Raises:
        OverloadedError: Another holds it, in this process or in another one.
        OSError: The lock file cannot be opened.
    """
    lock = FileLock(path, timeout=timeout_s, poll_interval=_POLL_INTERVAL_S)
    try:
        lock.acquire()
    except Timeout as error:
        raise OverloadedError(held) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def shared_holder(path: Path, held: str, *, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold the lock file ``path`` together with other shared holders, and beside no `only_holder`.

    Args:
        path: The lock file; its folder must exist.
        held: The message of the error where another holds it alone.
        timeout_s: How long to wait for that one; 0 does not wait.

    Raises:
        OverloadedError: Another holds it alone.
        OSError: The lock file cannot be opened.
    """
    deadline_s = time.monotonic() + timeout_s
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        while not _try_shared(descriptor):
            if time.monotonic() >= deadline_s:
                raise OverloadedError(held)
            time.sleep(_POLL_INTERVAL_S)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def only_writer_of(path: Path) -> Iterator[None]:
    """Hold the lock of the file ``path`` during the body; its folder exists.

    Raises:
        OverloadedError: Another process holds it for longer than writing can take.
        OSError: The lock file cannot be opened.
    """
    held = f"another process has been writing {path} for more than {_WRITER_TIMEOUT_S:g} s; try again"
    with only_holder(path.with_name(path.name + LOCK_SUFFIX), held, timeout_s=_WRITER_TIMEOUT_S):
        yield


def try_lock(descriptor: int) -> bool:
    """Lock an open file or folder until it is closed; False where another holds it.

    For files that are their own lock: whoever finds one that nobody holds knows that its writer is gone.
    """
    return lock_descriptor(descriptor, blocking=False)


def wait_for_lock(descriptor: int) -> None:
    """`try_lock` until it succeeds, for locks that others hold for an instant only."""
    lock_descriptor(descriptor, poll_interval=_POLL_INTERVAL_S)


def wait_for_shared_lock(descriptor: int) -> None:
    """Lock an open file or folder beside others until it is closed; wait for one that holds it alone."""
    while not _try_shared(descriptor):
        time.sleep(_POLL_INTERVAL_S)


def _try_shared(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
