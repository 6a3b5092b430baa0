"""File operations that say when something is on the disk, and replacements that are never seen half done."""

from __future__ import annotations

import os
from pathlib import Path


def fsync_file(descriptor: int) -> None:
    """Return when the file's content is on the disk."""
    os.fsync(descriptor)


def fsync_folder(folder: Path) -> None:
    """Return when the folder's entries (creations, renames, removals) are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """Return when every file and folder below ``folder``, and ``folder`` itself, are on the disk."""
    for directory, _, names in os.walk(folder, topdown=False):
        for name in names:
            with (Path(directory) / name).open("rb") as file:
                fsync_file(file.fileno())
        fsync_folder(Path(directory))


def make_folder(folder: Path, *, mode: int = 0o777) -> None:
    """Create a folder and its parents, each on the disk when this returns.

    Args:
        folder: The folder; one that is there stays as it is.
        mode: Permissions of the last folder, before the umask.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=mode, exist_ok=True)
    fsync_folder(folder.parent)


def rename(source: Path, target: Path) -> None:
    """Rename within one folder; atomic, and on the disk when this returns."""
    source.replace(target)
    fsync_folder(target.parent)


def remove(path: Path) -> None:
    """Remove a file if it is there. Its folder is not synced: a removal that is lost is done again."""
    path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Replace a file: a reader, and a machine that loses power, sees the old content or the new.

    Its time of modification is later than that of the file it replaces, also where both are written within
    one tick of the file system's clock, so that readers can tell them apart by it.

    Args:
        path: The file. Its folder exists, and one process writes it at a time (`locks.only_writer_of`): two
            that write the same path at once may mix their contents.
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
        fsync_file(descriptor)
    rename(temporary, path)


def replace_with(path: Path, written: Path) -> None:
    """Replace a file by one in the same folder that a library has written, as `write_atomically` does."""
    with written.open("rb") as file:
        fsync_file(file.fileno())
    rename(written, path)
