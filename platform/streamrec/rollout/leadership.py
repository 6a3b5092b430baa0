"""Who drives the rollouts: one process at a time, and another one as soon as that one is gone.

A leader may lose its lead without noticing, for example while its machine is suspended. So nothing rests on
leadership alone: each transition is a compare-and-set in the ledger, and each publication one in the traffic
document.
"""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from typing import Final, Protocol

from streamrec.contracts.errors import DependencyError
from streamrec.files.durable_files import make_folder
from streamrec.files.locks import try_lock

_FORKED: Final = weakref.WeakSet["FileLeadership"]()


class Leadership(Protocol):
    """The lead of one thing. Safe to use from several threads."""

    def try_lead(self) -> bool:
        """Take the lead if nobody has it; at once in either case.

        Returns:
            Whether this one leads now, be it newly or still.

        Raises:
            DependencyError: It cannot be found out who leads.
        """
        ...

    def resign(self) -> None:
        """Let another one lead; nothing happens where this one does not."""
        ...


class FileLeadership:
    """Implements `Leadership` by the lock of a file, which the system frees however its process ends.

    The file stays, since removing it would let two lead at once. A process that is forked from the leader
    does not lead, and does not hold the lock when the leader has died.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet.

        Args:
            path: The lock file; its folder is made where there is none.
        """
        self._path = path
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        _FORKED.add(self)

    def try_lead(self) -> bool:
        """See `Leadership.try_lead`."""
        with self._lock:
            if self._descriptor is not None:
                return True
            try:
                make_folder(self._path.parent)
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise DependencyError(f"{self._path} cannot be opened: {error.strerror}") from error
            if not try_lock(descriptor):
                os.close(descriptor)
                return False
            self._descriptor = descriptor
            return True

    def resign(self) -> None:
        """See `Leadership.resign`."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def forget_in_child(self) -> None:
        """Called in a process that was forked: the lock is the parent's, and so is who holds `_lock`."""
        self._lock = threading.Lock()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _forget_in_child() -> None:
    for leadership in tuple(_FORKED):
        leadership.forget_in_child()


os.register_at_fork(after_in_child=_forget_in_child)


class MemoryLead:
    """What several `MemoryLeadership` of one process compete for."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.leader: MemoryLeadership | None = None


class MemoryLeadership:
    """Implements `Leadership` within one process."""

    def __init__(self, lead: MemoryLead | None = None) -> None:
        """Compete for ``lead``; for one of its own where None."""
        self._lead = MemoryLead() if lead is None else lead

    def try_lead(self) -> bool:
        """See `Leadership.try_lead`."""
        with self._lead.lock:
            if self._lead.leader is None:
                self._lead.leader = self
            return self._lead.leader is self

    def resign(self) -> None:
        """See `Leadership.resign`."""
        with self._lead.lock:
            if self._lead.leader is self:
                self._lead.leader = None
