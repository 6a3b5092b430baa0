"""One run at a time in a folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamrec.contracts.errors import OverloadedError

LOCK_FILE = ".lock"


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Hold the folder's lock during the body; the system lets go of it however the process ends.

    Raises:
        OverloadedError: Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OverloadedError(
                f"another run is under way in {folder}; wait for it or choose another --workspace"
            ) from error
        yield
