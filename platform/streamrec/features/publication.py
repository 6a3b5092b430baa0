"""Writers of single rows and the publication of a materialisation keep out of each other's way.

A row that is written while the published folder is being exchanged would go into the old one, after the last
look for rows that are new. So writers share one lock, which the publisher holds alone for the exchange; and
they pass through a gate that it holds too, so that a stream of writers cannot keep it waiting.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from streamrec.contracts.errors import DependencyError, OverloadedError
from streamrec.files.locks import only_holder, shared_holder

_WRITER_TIMEOUT_S: Final = 5.0
_PUBLISHER_TIMEOUT_S: Final = 60.0


@contextmanager
def writing_rows(folder: Path) -> Iterator[None]:
    """Hold off publications of ``folder`` during the body.

    Raises:
        DependencyError: A publication takes longer than 5 s, or the lock cannot be opened; nothing was done.
    """
    held = f"the features in {folder} are being published"
    with ExitStack() as stack:
        try:
            with only_holder(_gate(folder), held, timeout_s=_WRITER_TIMEOUT_S):
                stack.enter_context(shared_holder(_lock(folder), held, timeout_s=_WRITER_TIMEOUT_S))
        except (OverloadedError, OSError) as error:
            raise DependencyError(f"the feature store cannot be written now ({error})") from error
        yield


@contextmanager
def publishing(folder: Path) -> Iterator[None]:
    """Hold off writers of rows in ``folder``, and other publications, during the body.

    Raises:
        OverloadedError: Another publication, or a writer, takes longer than a minute.
    """
    held = f"others have been writing to {folder} for a minute; try again"
    with (
        only_holder(_gate(folder), held, timeout_s=_PUBLISHER_TIMEOUT_S),
        only_holder(_lock(folder), held, timeout_s=_PUBLISHER_TIMEOUT_S),
    ):
        yield


def _gate(folder: Path) -> Path:
    return folder.absolute().parent / f".{folder.name}.gate.lock"


def _lock(folder: Path) -> Path:
    return folder.absolute().parent / f".{folder.name}.rows.lock"
