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


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, each on the disk when this returns."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    fsync_folder(folder.parent)


def rename(source: Path, target: Path) -> None:
    """Rename within one folder; atomic, and on the disk when this returns."""
    source.replace(target)
    fsync_folder(target.parent)


def remove(path: Path) -> None:
    """Remove a file if it is there. Its folder is not synced: a removal that is lost is done again."""
    path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file: a reader, and a machine that loses power, sees the old content or the new.

    One writer at a time: two that write the same path at once may mix their contents.
    """
    temporary = path.with_name(f"{path.name}.temporary")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        fsync_file(file.fileno())
    rename(temporary, path)


def replace_with(path: Path, written: Path) -> None:
    """Replace a file by one in the same folder that a library has written, as `write_atomically` does."""
    with written.open("rb") as file:
        fsync_file(file.fileno())
    rename(written, path)
