"""One run at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamrec.files.durable_files import make_folder
from streamrec.files.locks import only_holder

LOCK_FILE = ".lock"


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Hold the folder's lock during the body; the folder is made if need be.

    Raises:
        OverloadedError: Another run holds it.
    """
    make_folder(folder)
    held = f"another run is under way in {folder}; wait for it or choose another --workspace"
    with only_holder(folder / LOCK_FILE, held):
        yield
