"""Locks between processes. The system lets go of every one of them however its process ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

from streamrec.contracts.errors import OverloadedError

_POLL_INTERVAL_S = 0.01


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


def try_lock(descriptor: int) -> bool:
    """Lock an open file or folder until it is closed; False where another holds it.

    For files that are their own lock: whoever finds one that nobody holds knows that its writer is gone.
    """
    return lock_descriptor(descriptor, blocking=False)


def wait_for_lock(descriptor: int) -> None:
    """`try_lock` until it succeeds, for locks that others hold for an instant only."""
    lock_descriptor(descriptor, poll_interval=_POLL_INTERVAL_S)
