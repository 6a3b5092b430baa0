"""Following an item log: what is new is read, what was read stays, and damage never takes it away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from streamrec.contracts.errors import ArtifactError, DependencyError, StreamRecError
from streamrec.contracts.items import ItemChange
from streamrec.items.files import HEAD_FILE, FilePart, Head, changes_files, read_changes, read_head
from streamrec.items.state import ItemState

_LOG = logging.getLogger(__name__)

POLL_INTERVAL_S: Final = 0.2
"""A look where nothing is new is one system call; an item has to be seen within a second."""

_ATTEMPTS: Final = 5
"""A reader that finds a file gone begins again with the head that replaced it."""


class ItemFeed(Protocol):
    """Tells what an item log says, as of the last look."""

    @property
    def current(self) -> ItemState:
        """What the log said at the last look; never waits."""
        ...

    @property
    def problem(self) -> str:
        """Why the last look failed; empty where it did not."""
        ...

    def refresh(self) -> bool:
        """Look again; True if the log says something else now. Never raises."""
        ...


class ItemFollower:
    """Implements `ItemFeed` over the files of a log. Safe to use from several threads.

    Only what came since the last look is read. A log that is damaged or cannot be read is reported
    (`problem`, and once in the process's log), and what was read before stays.
    """

    def __init__(self, folder: Path) -> None:
        """Start with what the log says now; one that is not there yet says nothing."""
        self._folder = folder
        self._lock = threading.Lock()
        self._state = ItemState()
        self._part: FilePart | None = None
        self._seen: tuple[int, int, int] | None = None
        self._problem = ""
        self.refresh()

    @property
    def current(self) -> ItemState:
        """See `ItemFeed.current`."""
        return self._state

    @property
    def problem(self) -> str:
        """See `ItemFeed.problem`."""
        return self._problem

    def refresh(self) -> bool:
        """See `ItemFeed.refresh`."""
        with self._lock:
            before = self._state
            try:
                self._follow()
            except (StreamRecError, OSError) as error:
                if str(error) != self._problem:
                    self._problem = str(error)
                    _LOG.warning("the item log stays at revision %d: %s", before.revision, error)
            else:
                self._problem = ""
            return self._state is not before

    def catch_up(self) -> ItemState:
        """Look again and return what the log says.

        Raises:
            ArtifactError: The log is damaged.
            DependencyError: It cannot be read.
        """
        with self._lock:
            self._follow()
            return self._state

    def _follow(self) -> None:
        for _ in range(_ATTEMPTS):
            seen = self._identity_of_head()
            if seen is not None and seen == self._seen:
                return
            head = read_head(self._folder)
            if head is None:
                if self._state.revision:
                    raise DependencyError(f"the item log in {self._folder} is gone")
                return
            try:
                self._state = self._read(head)
            except FileNotFoundError:
                continue
            self._part, self._seen = head.changes, seen
            return
        raise DependencyError(f"the item log in {self._folder} changed again and again while it was read")

    def _identity_of_head(self) -> tuple[int, int, int] | None:
        try:
            status = (self._folder / HEAD_FILE).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self, head: Head) -> ItemState:
        state, part = self._state, self._part
        is_same_log = state.log_id == head.log_id and state.revision <= head.revision
        if is_same_log and part is not None and part.name == head.changes.name:
            new = read_changes(self._folder, head.changes, start=part.bytes)
            return _continued(state, head, new)
        if not is_same_log or state.revision < head.first_revision - 1:
            state = ItemState()
            if head.snapshot is not None:
                state = state.after(head.log_id, read_changes(self._folder, head.snapshot))
        entries = read_changes(self._folder, head.changes)
        return _continued(state, head, (entry for entry in entries if entry.revision > state.revision))


def read_state(folder: Path) -> ItemState:
    """What the log says now.

    Raises:
        ArtifactError: The log is damaged.
        DependencyError: It cannot be read.
    """
    return ItemFollower(folder).catch_up()


def read_state_at(folder: Path, moment: datetime) -> ItemState:
    """What the log said at a moment, from every entry up to it.

    Raises:
        ArtifactError: The log is damaged.
        DependencyError: It cannot be read.
    """
    head = read_head(folder)
    if head is None:
        return ItemState()
    return ItemState().after(head.log_id, (entry for entry in read_history(folder) if entry.at <= moment))


def read_history(folder: Path) -> list[ItemChange]:
    """Every entry of the log from the first one on, those included that later ones replaced.

    Raises:
        ArtifactError: The log is damaged.
        DependencyError: It cannot be read.
    """
    head = read_head(folder)
    if head is None:
        return []
    entries: list[ItemChange] = []
    for path in changes_files(folder):
        whole = head.changes if path.name == head.changes.name else FilePart(path.name, path.stat().st_size)
        if path.name <= head.changes.name:
            entries.extend(read_changes(folder, whole))
    _check_order(entries, 0, head)
    return entries


def _continued(state: ItemState, head: Head, entries: Iterable[ItemChange]) -> ItemState:
    new = list(entries)
    _check_order(new, state.revision, head)
    return state.after(head.log_id, new)


def _check_order(entries: list[ItemChange], before: int, head: Head) -> None:
    expected = range(before + 1, head.revision + 1)
    if [entry.revision for entry in entries] != list(expected):
        raise ArtifactError(
            f"the item log has gaps: its head says revision {head.revision}, "
            f"{len(entries)} entries follow revision {before}"
        )
