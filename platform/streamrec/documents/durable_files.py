"""Files that are replaced whole, and a lock that one process holds at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from streamrec.contracts.errors import OverloadedError

LOCK_SUFFIX: Final = ".lock"

_LOCK_TIMEOUT_S: Final = 10.0
"""Whoever holds the lock writes a few kilobytes. A process that is killed lets go of it at once."""

_LOCK_POLL_INTERVAL_S: Final = 0.01


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Create a folder and its parents, each on the disk when this returns; ``mode`` is for the last one."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=mode, exist_ok=True)
    fsync_folder(folder.parent)


def fsync_folder(folder: Path) -> None:
    """Return when the folder's entries (creations, renames, removals) are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Replace a file: a reader, and a machine that loses power, sees the old content or the new.

    Its time of modification is later than that of the file it replaces, also where both are written within
    one tick of the file system's clock, so that readers can tell them apart by it.

    Args:
        path: The file. Its folder exists, and one process writes it at a time (`only_writer_of`).
        content: All of it.
        mode: Permissions of the new file, before the umask.
    """
    temporary = path.with_name(f"{path.name}.temporary")
    temporary.unlink(missing_ok=True)  # left behind by a process that was killed
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        written_ns = os.fstat(descriptor).st_mtime_ns
        try:
            replaced_ns = path.stat().st_mtime_ns
        except FileNotFoundError:
            replaced_ns = 0
        if written_ns <= replaced_ns:
            os.utime(descriptor, ns=(replaced_ns + 1, replaced_ns + 1))
        os.fsync(descriptor)
    temporary.replace(path)
    fsync_folder(path.parent)


@contextmanager
def only_writer_of(path: Path) -> Iterator[None]:
    """Hold the lock of ``path`` during the body; its folder exists.

    Raises:
        OverloadedError: Another process holds it for longer than writing can take.
        OSError: The lock file cannot be opened.
    """
    lock = FileLock(
        path.with_name(path.name + LOCK_SUFFIX),
        timeout=_LOCK_TIMEOUT_S,
        poll_interval=_LOCK_POLL_INTERVAL_S,
    )
    try:
        lock.acquire()
    except Timeout as error:
        raise OverloadedError(
            f"another process has been writing {path} for more than {_LOCK_TIMEOUT_S:g} s; try again"
        ) from error
    try:
        yield
    finally:
        lock.release()
