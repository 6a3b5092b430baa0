"""Compaction that runs by itself, beside a service, on a thread that lets everything else go first."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from streamrec.contracts.errors import OverloadedError, StreamRecError
from streamrec.events.compaction import CompactionReport, CompactionSettings, compact

_LOG = logging.getLogger(__name__)

DEFAULT_INTERVAL_S: Final = 300.0

_NICENESS: Final = 15


class BackgroundCompaction:
    """Compacts a log every so often until it is stopped; a context manager.

    The thread ends with its process, wherever it is: a compaction that is cut off loses nothing, and the next
    one finishes it. Several processes may do this for one log: one of them compacts, the others skip a turn.
    """

    def __init__(
        self,
        root: Path,
        settings: Callable[[], CompactionSettings],
        *,
        interval_s: float = DEFAULT_INTERVAL_S,
        run: Callable[[Path, CompactionSettings], CompactionReport] = compact,
    ) -> None:
        """Describe it; `__enter__` starts it.

        Args:
            root: The folder of the event log.
            settings: How to compact, asked before every turn.
            interval_s: Seconds between two turns, and before the first one.
            run: What compacts.
        """
        if not interval_s > 0.0:
            raise ValueError("the interval must be above zero")
        self._root, self._settings, self._interval_s, self._run = root, settings, interval_s, run
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="compaction", daemon=True)

    def __enter__(self) -> BackgroundCompaction:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()

    def turn(self) -> None:
        """Compact once; what goes wrong is logged, and the next turn tries again."""
        try:
            report = self._run(self._root, self._settings())
        except OverloadedError:
            _LOG.info("%s: another process is compacting", self._root)
        except StreamRecError as error:
            _LOG.error("%s was not compacted, which is tried again: %s", self._root, error)
        except Exception:  # noqa: BLE001  # whatever it is, the log must be compacted again later
            _LOG.exception("%s was not compacted, which is tried again", self._root)
        else:
            _LOG.info("%s compacted: %s", self._root, report)

    def _work(self) -> None:
        with suppress(OSError):  # Linux counts niceness by thread; elsewhere it may be refused
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while not self._stop.wait(self._interval_s):
            self.turn()
