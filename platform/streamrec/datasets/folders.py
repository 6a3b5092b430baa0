"""Publishing a folder in one step: readers see the whole old content or the whole new one.

The content is written to a hidden sibling folder, flushed to disk and then exchanged with the published
folder by one system call. A writer that dies on the way leaves the published folder untouched; the next
writer removes what it left behind.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from streamrec.contracts.errors import DataFolderError
from streamrec.files.durable_files import fsync_folder, fsync_tree
from streamrec.files.locks import try_lock

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


@contextmanager
def replaced_folder(target: Path, owned: Collection[str]) -> Iterator[Path]:
    """Yield an empty folder whose content becomes ``target`` when the block ends without an error.

    Args:
        target: The folder to publish. It may exist; its parents are made.
        owned: Names that may be found in ``target``. A folder that holds anything else was not written by
            the caller, and replacing it would destroy someone's files.

    Raises:
        DataFolderError: ``target`` is not a folder, holds foreign files or cannot be written.
    """
    target = target.absolute()
    _refuse_foreign(target, owned)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target)
        staging, lock = _locked_staging_folder(target)
    except OSError as error:
        raise DataFolderError(target, None, f"cannot be written ({error})") from error
    try:
        yield staging
        staging.chmod(0o755)
        fsync_tree(staging)
        _refuse_foreign(target, owned)
        _publish(staging, target)
    finally:
        # After the exchange the staging name holds the old content; after an error, the half-written new one.
        shutil.rmtree(staging, ignore_errors=True)
        os.close(lock)


def _refuse_foreign(target: Path, owned: Collection[str]) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise DataFolderError(target, None, "the output exists and is not a folder; choose another")
    foreign = sorted(path.name for path in target.iterdir() if path.name not in owned)
    if foreign:
        raise DataFolderError(
            target,
            None,
            f"the output folder holds files that were not written here ({', '.join(foreign[:5])}) and would "
            "be lost; choose another folder or remove them",
        )


def _prefix(target: Path) -> str:
    return f".{target.name}.writing-"


def _locked_staging_folder(target: Path) -> tuple[Path, int]:
    while True:
        staging = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
        # Another writer may take a folder that is not locked yet for abandoned; then try the next name.
        if (lock := _lock(staging)) is not None:
            return staging, lock


def _lock(folder: Path) -> int | None:
    """Lock ``folder`` against `_remove_abandoned`; None when another process holds or has removed it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    if not try_lock(descriptor):
        os.close(descriptor)
        return None
    return descriptor


def _remove_abandoned(target: Path) -> None:
    """Remove what killed writers left. A living writer holds a lock that dies with its process."""
    for leftover in target.parent.glob(f"{_prefix(target)}*"):
        descriptor = _lock(leftover)
        if descriptor is not None:
            shutil.rmtree(leftover, ignore_errors=True)
            os.close(descriptor)


def _publish(staging: Path, target: Path) -> None:
    try:
        # Without a published folder, or with an empty one, a plain rename is already atomic.
        staging.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise DataFolderError(target, None, f"cannot be replaced ({error})") from error
        if not _exchange(staging, target):
            _replace_in_two_steps(staging, target)
    with suppress(OSError):  # not every file system can flush a folder
        fsync_folder(target.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one system call; False where the system has none."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    result = renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    if result == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS):  # the file system does not know the exchange
        return False
    raise DataFolderError(second, None, f"cannot be replaced ({os.strerror(code)})")


def _replace_in_two_steps(staging: Path, target: Path) -> None:
    """Where folders cannot be exchanged, a reader may find none for the moment between two renames."""
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.previous-", dir=target.parent))
    try:
        target.rename(old)
        staging.rename(target)
    except OSError as error:
        if not target.exists():
            old.rename(target)
        raise DataFolderError(target, None, f"cannot be replaced ({error})") from error
    shutil.rmtree(old, ignore_errors=True)
