"""The writing end of the event log: append, and say when it is on the disk."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Final

from streamrec.contracts.errors import DependencyError
from streamrec.events.records import Record
from streamrec.events.segments import OPEN_SUFFIX, SEALED_SUFFIX, frame, segments_folder
from streamrec.files import durable_files
from streamrec.files.locks import wait_for_lock

DEFAULT_SEGMENT_BYTES: Final = 64 * 1024 * 1024
DEFAULT_SEGMENT_AGE_S: Final = 600.0

_CREATION_ATTEMPTS: Final = 5


class WriteAheadLog:
    """Appends records to segment files of its own. Safe to use from several threads and, one each, processes.

    Group commit: threads that wait for the disk at the same time share one fsync. After an fsync has failed
    the kernel may have dropped the very pages it failed on, so the segment is abandoned and never synced
    again; what was waiting for it is not acknowledged (as PostgreSQL does since 2018).
    """

    def __init__(
        self,
        root: Path,
        *,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        segment_age_s: float = DEFAULT_SEGMENT_AGE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remember where to write; the first segment is created by the first append.

        Args:
            root: Folder of the event log, shared by all writers and readers.
            segment_bytes: A segment that has reached this size is sealed.
            segment_age_s: A segment of this age is sealed by the next append or `rotate_if_due`.
            clock: Seconds that never go back.
        """
        if segment_bytes < 1 or not segment_age_s > 0.0:
            raise ValueError("a segment needs room for one byte and an age above zero")
        self._folder = segments_folder(root)
        self._segment_bytes = segment_bytes
        self._segment_age_s = segment_age_s
        self._clock = clock
        self._lock = Lock()
        started = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        self._writer = f"{started}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._next_number = 1
        self._segment: _Segment | None = None
        self._closed = False

    def append(self, records: Sequence[Record], *, durable: bool = True) -> None:
        """Write all records or none; see `EventWriter.append`."""
        content = b"".join([frame(record) for record in records])
        with self._lock:
            if self._closed:
                raise DependencyError(f"the event log {self._folder} is closed")
            segment = self._writable_segment()
            position = segment.write(content)
        if durable:
            segment.sync(position)

    def rotate_if_due(self) -> None:
        """Seal the segment if it is large or old, so that compaction can take it. Call it now and then.

        Raises:
            DependencyError: The disk fails.
        """
        with self._lock:
            if self._segment is not None and self._is_due(self._segment):
                self._seal()

    def rotate(self) -> None:
        """Seal the segment, whatever it holds; the next append creates another.

        Raises:
            DependencyError: The disk fails.
        """
        with self._lock:
            self._seal()

    def close(self) -> None:
        """Bring everything to the disk and seal the segment.

        Raises:
            DependencyError: The disk fails: records of non-durable appends may be lost.
        """
        with self._lock:
            self._closed = True
            if self._segment is not None:
                self._seal()

    def _writable_segment(self) -> _Segment:
        if self._segment is not None and not self._segment.failed and self._is_due(self._segment):
            self._seal()
        if self._segment is not None and self._segment.failed:
            self._segment.abandon()
            self._segment = None
        if self._segment is None:
            self._segment = self._create()
        return self._segment

    def _is_due(self, segment: _Segment) -> bool:
        return (
            segment.written_bytes >= self._segment_bytes
            or self._clock() - segment.opened_at_s >= self._segment_age_s
        )

    def _create(self) -> _Segment:
        try:
            durable_files.make_folder(self._folder)
            for _ in range(_CREATION_ATTEMPTS):
                path = self._folder / f"{self._writer}.{self._next_number:06d}{OPEN_SUFFIX}"
                self._next_number += 1
                segment = _Segment(path, self._clock())
                if segment.is_ours():
                    durable_files.fsync_folder(self._folder)
                    return segment
                segment.abandon()
        except OSError as error:
            raise DependencyError(f"the event log {self._folder} cannot be written: {error}") from error
        raise DependencyError(f"{self._folder}: new segments are taken away before they can be locked")

    def _seal(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.seal()


class _Segment:
    """One open segment file. ``write`` is called under the log's lock, ``sync`` by many threads at once."""

    def __init__(self, path: Path, opened_at_s: float) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        wait_for_lock(self._descriptor)
        self._sync_lock = Lock()
        self._synced_bytes = 0
        self.written_bytes = 0
        self.opened_at_s = opened_at_s
        self.failed = False

    def is_ours(self) -> bool:
        """Whether nobody sealed the file in the instant between its creation and the lock."""
        return self._path.exists()

    def write(self, content: bytes) -> int:
        """Hand the bytes to the operating system; return the position after them."""
        view = memoryview(content)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            try:
                os.ftruncate(self._descriptor, self.written_bytes)
            except OSError:
                self.failed = True  # the half line stays; recovery cuts it off
            raise DependencyError(f"{self._path}: {error}; nothing was acknowledged") from error
        self.written_bytes += len(content)
        return self.written_bytes

    def sync(self, position: int) -> None:
        """Return when everything up to ``position`` is on the disk.

        The first thread to come syncs for all that have written by then; those find their work done.
        """
        with self._sync_lock:
            if self._synced_bytes >= position:
                return
            if self.failed:
                raise DependencyError(f"{self._path}: the disk failed; nothing was acknowledged")
            target = self.written_bytes
            try:
                durable_files.fsync_file(self._descriptor)
            except OSError as error:
                self.failed = True
                raise DependencyError(f"{self._path}: {error}; nothing was acknowledged") from error
            self._synced_bytes = target

    def seal(self) -> None:
        """Sync, rename, let go. If the disk fails the segment is left for recovery to seal."""
        try:
            self.sync(self.written_bytes)
            with self._sync_lock:
                durable_files.rename(self._path, self._path.with_suffix(SEALED_SUFFIX))
        except OSError as error:
            raise DependencyError(f"{self._path} cannot be sealed: {error}") from error
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the file and of the lock on it."""
        with self._sync_lock, contextlib.suppress(OSError):
            self.failed = self.failed or self._synced_bytes < self.written_bytes
            os.close(self._descriptor)
