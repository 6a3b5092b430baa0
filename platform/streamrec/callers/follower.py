"""Following the callers file: a change counts without a restart, and a damaged file changes nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from streamrec.callers.authentication import CallerDirectory
from streamrec.callers.callers_file import CallersFile, refusal_of, stamp_of
from streamrec.contracts.errors import StreamRecError
from streamrec.documents.polling import Poller
from streamrec.documents.refusals import Refusal

_LOG = logging.getLogger(__name__)

POLL_INTERVAL_S: Final = 1.0
_NEVER: Final = (-1,)


class CallersFollower:
    """Looks at the file again and again; keeps the last good one. Read from any thread.

    Attributes:
        problem: Why the file as it is now was refused; empty where it was not.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_refused: Callable[[str], None] = lambda _code: None,
        clock: Callable[[], float] = time.time,
        interval_s: float = POLL_INTERVAL_S,
    ) -> None:
        """Read the file once; `start` looks again.

        Args:
            path: The callers file.
            on_refused: Told the code of each refusal (`Refusal`), once for each state of the file.
            clock: Seconds since 1970; tokens expire by it.
            interval_s: Between two looks.
        """
        self._file = CallersFile(path)
        self._on_refused = on_refused
        self._clock = clock
        self._directory: CallerDirectory | None = None
        self._stamp: tuple[int, ...] | None = _NEVER
        self.problem = ""
        self._poller = Poller(self.refresh, interval_s=interval_s, name="callers")
        self.refresh()

    def current(self) -> CallerDirectory | None:
        """The last good file; None where there was none since the start: then nobody can be told apart."""
        return self._directory

    def start(self) -> None:
        """Look at the file from now on."""
        self._poller.start()

    def stop(self) -> None:
        """Look no more."""
        self._poller.stop()

    def refresh(self) -> None:
        """Look once; where nothing is new this is one ``stat``. Never raises."""
        stamp = stamp_of(self._file.path)
        if stamp == self._stamp:
            return
        try:
            directory = CallerDirectory(self._file.read(), self._clock)
        except StreamRecError as error:
            self._refuse(refusal_of(error), str(error))
        except Exception as error:  # noqa: BLE001 - the last good one must stay in force whatever happens
            _LOG.exception("the callers file cannot be read")
            self._refuse(Refusal.DEFECT, f"{self._file.path}: {type(error).__name__}")
        else:
            self._directory = directory
            self.problem = ""
            _LOG.info("%d callers are in force", len(directory.names))
        # Of before the reading: a change meanwhile has another one, and is seen at the next look.
        self._stamp = stamp

    def _refuse(self, code: str, problem: str) -> None:
        self.problem = problem
        self._on_refused(code)
        kept = "nobody is let in" if self._directory is None else "those before stay in force"
        _LOG.warning("the callers file is refused (%s), %s: %s", code, kept, problem)
