"""Writing the item log."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from streamrec.contracts.errors import DependencyError, InvalidInputError
from streamrec.contracts.items import Item, ItemChange
from streamrec.files.durable_files import make_folder, remove
from streamrec.files.locks import only_writer_of
from streamrec.items.files import (
    HEAD_FILE,
    FilePart,
    Head,
    changes_name,
    lines,
    read_head,
    snapshot_name,
    write_at,
    write_head,
)
from streamrec.items.follower import ItemFollower
from streamrec.items.state import ItemState

MAXIMUM_BATCH: Final = 100_000
"""Entries of one append; what is longer is refused before anything is written."""

SNAPSHOT_AFTER: Final = 10_000
"""Entries that a start reads one by one before they are worth a snapshot."""


class ItemLog(Protocol):
    """Takes changes of the catalogue. Blocking: call it from a worker thread."""

    def append(self, changes: Sequence[Item | str]) -> tuple[ItemChange, ...]:
        """Write changes, all or none; every follower sees them with its next look.

        Args:
            changes: An item to be put, or the id of one to be removed; in order.

        Returns:
            The entries, with their revisions; none where ``changes`` is empty.

        Raises:
            InvalidInputError: There are more than `MAXIMUM_BATCH`, or a field is out of bounds.
            OverloadedError: Another process has been writing for too long.
            DependencyError: The disk is full or fails; nothing counts.
            ArtifactError: The log is damaged.
        """
        ...


def _now() -> datetime:
    return datetime.now(UTC)


class FileItemLog:
    """Implements `ItemLog` over files. Several processes may write to one log, one at a time."""

    def __init__(
        self,
        folder: Path,
        *,
        snapshot_after: int = SNAPSHOT_AFTER,
        now: Callable[[], datetime] = _now,
    ) -> None:
        """Describe a log; it is made with the first append.

        Args:
            folder: Where the log lies, and nothing else.
            snapshot_after: See `SNAPSHOT_AFTER`.
            now: Tells the time, UTC.
        """
        self._folder = folder
        self._snapshot_after = snapshot_after
        self._now = now
        self._follower = ItemFollower(folder)

    def append(self, changes: Sequence[Item | str]) -> tuple[ItemChange, ...]:
        """See `ItemLog.append`."""
        check_size(changes)
        if not changes:
            return ()
        try:
            make_folder(self._folder)
            with only_writer_of(self._folder / HEAD_FILE):
                return self._append(changes)
        except OSError as error:
            raise DependencyError(f"the item log in {self._folder} cannot be written: {error}") from error

    def _append(self, changes: Sequence[Item | str]) -> tuple[ItemChange, ...]:
        state = self._follower.catch_up()
        head = read_head(self._folder)
        if head is None:
            head = Head(os.urandom(16).hex(), 0, None, 1, FilePart(changes_name(1), 0))
        elif head.revision - head.first_revision + 1 >= max(self._snapshot_after, len(state.changes)):
            head = self._with_snapshot(head, state)
        entries = entries_after(state, changes, self._now())
        content = lines(entries)
        write_at(self._folder / head.changes.name, head.changes.bytes, content)
        part = FilePart(head.changes.name, head.changes.bytes + len(content))
        write_head(
            self._folder, Head(head.log_id, entries[-1].revision, head.snapshot, head.first_revision, part)
        )
        return entries

    def _with_snapshot(self, head: Head, state: ItemState) -> Head:
        """Write the last entries down, and let the next ones begin a new file."""
        content = lines(sorted(state.changes.values(), key=lambda change: change.revision))
        name, first = snapshot_name(head.revision), head.revision + 1
        write_at(self._folder / name, 0, content)
        # The closed file ends where it counts, so that the whole of it can be read as history.
        write_at(self._folder / head.changes.name, head.changes.bytes, b"")
        new = Head(
            head.log_id, head.revision, FilePart(name, len(content)), first, FilePart(changes_name(first), 0)
        )
        write_at(self._folder / new.changes.name, 0, b"")
        write_head(self._folder, new)
        if head.snapshot is not None and head.snapshot.name != name:
            remove(self._folder / head.snapshot.name)
        return new


def check_size(changes: Sequence[Item | str]) -> None:
    """Refuse what is too long for one append.

    Raises:
        InvalidInputError: There are more than `MAXIMUM_BATCH`.
    """
    if len(changes) > MAXIMUM_BATCH:
        raise InvalidInputError("changes", f"are {len(changes):,}; at most {MAXIMUM_BATCH:,} are taken")


def entries_after(state: ItemState, changes: Sequence[Item | str], now: datetime) -> tuple[ItemChange, ...]:
    """The entries that follow ``state``; their fields are not checked yet."""
    # A clock that was set back must not put an entry before the one in front of it.
    at = max([now, *(change.at for change in state.changes.values())])
    return tuple(
        ItemChange.put(change, revision=revision, at=at)
        if isinstance(change, Item)
        else ItemChange.removal(change, revision=revision, at=at)
        for revision, change in enumerate(changes, start=state.revision + 1)
    )
