"""Segment files: the names, the frame around each record, and what to do with a damaged one.

A segment is `<writer>.<number>.open` while its writer lives and holds a lock on it, and `.sealed` afterwards.
Each line is the CRC-32 of the record in eight hexadecimal digits, a space, the record's JSON and a newline.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from streamrec.contracts.errors import DependencyError, InvalidInputError
from streamrec.events.records import (
    MAXIMUM_PAYLOAD_CHARACTERS,
    MAXIMUM_RECORD_BYTES,
    QuarantinedEvent,
    QuarantineReason,
    Record,
    from_json,
    to_json,
)
from streamrec.files import durable_files
from streamrec.files.locks import try_lock

OPEN_SUFFIX: Final = ".open"
SEALED_SUFFIX: Final = ".sealed"

_CHECKSUM_CHARACTERS: Final = 8
_FRAME_BYTES: Final = _CHECKSUM_CHARACTERS + 2
_MAXIMUM_LINE_BYTES: Final = MAXIMUM_RECORD_BYTES + _FRAME_BYTES


@dataclass(frozen=True, slots=True)
class SegmentContent:
    """What a segment holds.

    Attributes:
        records: In the order written; a line that cannot be read stands as a `QuarantinedEvent`.
        corrupt_lines: Complete lines whose checksum or content is wrong.
        torn_bytes: Length of an unfinished last line: a write that was cut off before it was acknowledged.
    """

    records: tuple[Record, ...]
    corrupt_lines: int
    torn_bytes: int


def segments_folder(root: Path) -> Path:
    """Return the folder of the segments."""
    return root / "segments"


def frame(record: Record) -> bytes:
    """Return the record as one line.

    Raises:
        InvalidInputError: The record breaks a rule of its type, or is too large.
    """
    content = to_json(record).encode()
    if len(content) > MAXIMUM_RECORD_BYTES:
        raise InvalidInputError("record", f"{len(content)} bytes; at most {MAXIMUM_RECORD_BYTES} are allowed")
    return b"%08x %s\n" % (zlib.crc32(content), content)


class SegmentRecords:
    """The records of a segment from its beginning, one at a time, so that its size costs no memory.

    Nothing is skipped silently: see `SegmentContent`. An unfinished last line is a write that is under way or
    was cut off while the segment is open; in a sealed segment it is damage, and counts as a corrupt line.
    """

    def __init__(self, file: BinaryIO, *, sealed: bool) -> None:
        self._file = file
        self._sealed = sealed
        self.corrupt_lines = 0
        self.torn_bytes = 0

    def __iter__(self) -> Iterator[Record]:
        # A damaged line has lost the time it came; the file's own is the nearest that is known.
        changed_at = datetime.fromtimestamp(os.fstat(self._file.fileno()).st_mtime, UTC)
        self.corrupt_lines = self.torn_bytes = 0
        for line in _lines(self._file):
            if not line.endswith(b"\n") and not self._sealed:
                self.torn_bytes = len(line)
                return
            record = _unframe(line)
            if record is None:
                self.corrupt_lines += 1
                payload = line.decode(errors="backslashreplace")[:MAXIMUM_PAYLOAD_CHARACTERS]
                record = QuarantinedEvent(None, QuarantineReason.CORRUPT, changed_at, payload)
            yield record


def read_segment(file: BinaryIO, *, sealed: bool) -> SegmentContent:
    """Read a whole segment; see `SegmentRecords`."""
    records = SegmentRecords(file, sealed=sealed)
    return SegmentContent(tuple(records), records.corrupt_lines, records.torn_bytes)


def seal_abandoned(root: Path) -> list[Path]:
    """Seal the open segments whose writers are gone, cutting off an unfinished last line.

    A writer holds a lock on its segment for as long as it lives, so a segment that can be locked has none.

    Returns:
        The segments that were sealed.

    Raises:
        DependencyError: The folder cannot be read or written.
    """
    sealed: list[Path] = []
    folder = segments_folder(root)
    try:
        for path in sorted(folder.glob(f"*{OPEN_SUFFIX}")):
            target = _seal_if_abandoned(path)
            if target is not None:
                sealed.append(target)
    except OSError as error:
        raise DependencyError(f"{folder}: {error}") from error
    return sealed


def _seal_if_abandoned(path: Path) -> Path | None:
    try:
        file = path.open("r+b")
    except FileNotFoundError:  # its writer sealed it since the folder was listed
        return None
    with file:
        if not try_lock(file.fileno()) or not path.exists():
            return None
        records = SegmentRecords(file, sealed=False)
        for _ in records:
            pass
        if records.torn_bytes:
            file.truncate(os.fstat(file.fileno()).st_size - records.torn_bytes)
        durable_files.fsync_file(file.fileno())
        target = path.with_suffix(SEALED_SUFFIX)
        durable_files.rename(path, target)
        return target


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield lines, none longer than a record can be: the pieces of a longer one are corrupt each."""
    file.seek(0)
    pending = b""
    while piece := file.readline(_MAXIMUM_LINE_BYTES):
        if pending:
            yield pending if pending.endswith(b"\n") else pending + b"\n"
        pending = piece
    if pending:
        yield pending


def _unframe(line: bytes) -> Record | None:
    checksum, separator, content = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or not separator or len(checksum) != _CHECKSUM_CHARACTERS:
        return None
    if checksum != b"%08x" % zlib.crc32(content):
        return None
    try:
        return from_json(content)
    except InvalidInputError:
        return None
