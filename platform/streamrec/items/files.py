"""The files of an item log: the head that says what counts, and the lines that it points at.

    head.json                      the log's id, its revision, and how many bytes of which files count
    changes-REVISION.jsonl         entries from that revision on; all of them stay, the last one is written to
    snapshot-REVISION.jsonl        the last entry about every item up to that revision; the newest one stays

An entry counts once the head that includes it is in place. Entries are on the disk before that, so a process
that is killed, or a machine that loses power, leaves the log before an append or after it. What lies beyond
the bytes that count was never acknowledged: readers stop in front of it and the next writer cuts it off.

Each line is the CRC-32 of the entry in eight hexadecimal digits, a space, the entry's JSON and a newline.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from streamrec.contracts.canonical_json import LARGEST_INTEGER, canonical_json, parse_json
from streamrec.contracts.errors import ArtifactError, DependencyError, InvalidInputError
from streamrec.contracts.items import ItemChange
from streamrec.contracts.json_documents import STRICT, document_json, read_document
from streamrec.files.durable_files import write_atomically

HEAD_FILE: Final = "head.json"
HEAD_SCHEMA: Final = "streamrec.item_log_head.v1"

_MAXIMUM_HEAD_BYTES: Final = 4_096
_MAXIMUM_LINE_BYTES: Final = 64 * 1024
_CHECKSUM_CHARACTERS: Final = 8
_NAME_PATTERN: Final = r"^(changes|snapshot)-[0-9]{16}\.jsonl$"
_CHANGES_NAME: Final = re.compile(r"^changes-([0-9]{16})\.jsonl$")
_CHANGE: Final = TypeAdapter(ItemChange)

ByteCount = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]


@dataclass(frozen=True, slots=True)
class FilePart:
    """The beginning of a file that counts."""

    __pydantic_config__ = STRICT

    name: Annotated[str, Field(pattern=_NAME_PATTERN)]
    bytes: ByteCount


@dataclass(frozen=True, slots=True)
class Head:
    """What counts.

    Attributes:
        schema: The format.
        log_id: Made with the log; tells it from another that lies in its place later.
        revision: Of the newest entry; 0 without any.
        snapshot: The last entries up to where ``changes`` begins; None while that is the beginning.
        first_revision: Of ``changes``.
        changes: The file that is written to.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.item_log_head.v1"] = field(default=HEAD_SCHEMA, kw_only=True)
    log_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    revision: ByteCount
    snapshot: FilePart | None
    first_revision: Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
    changes: FilePart


def changes_name(first_revision: int) -> str:
    """Name of the file whose entries begin with ``first_revision``."""
    return f"changes-{first_revision:016d}.jsonl"


def snapshot_name(revision: int) -> str:
    """Name of the snapshot as of ``revision``."""
    return f"snapshot-{revision:016d}.jsonl"


def changes_files(folder: Path) -> list[Path]:
    """Every file of entries, oldest first."""
    return sorted(path for path in folder.iterdir() if _CHANGES_NAME.match(path.name))


def read_head(folder: Path) -> Head | None:
    """Return what counts; None where there is no log yet.

    Raises:
        ArtifactError: The head is damaged.
        DependencyError: It cannot be read.
    """
    path = folder / HEAD_FILE
    try:
        with path.open("rb") as file:
            content = file.read(_MAXIMUM_HEAD_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DependencyError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return read_document(Head, parse_json(content, maximum_bytes=_MAXIMUM_HEAD_BYTES))
    except InvalidInputError as error:
        raise ArtifactError(f"{path} is damaged: {error}") from error


def write_head(folder: Path, head: Head) -> None:
    """Let ``head`` count from now on; on the disk when this returns."""
    write_atomically(folder / HEAD_FILE, canonical_json(document_json(head)))


def lines(changes: Iterable[ItemChange]) -> bytes:
    """The entries as they stand in a file.

    Raises:
        InvalidInputError: A field of an entry is out of bounds.
    """
    return b"".join(_line(_checked(change)) for change in changes)


def read_changes(folder: Path, part: FilePart, *, start: int = 0) -> Iterator[ItemChange]:
    """Read the entries between byte ``start`` and the end of the part.

    Raises:
        FileNotFoundError: There is no such file: a newer head names another one.
        ArtifactError: A line is damaged, or the file is shorter than what counts.
        DependencyError: The file cannot be read.
    """
    path = folder / part.name
    try:
        with path.open("rb") as file:
            file.seek(start)
            position = start
            while position < part.bytes:
                line = file.readline(min(_MAXIMUM_LINE_BYTES, part.bytes - position))
                yield _entry(line, path, position)
                position += len(line)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DependencyError(f"{path} cannot be read: {error.strerror}") from error


def write_at(path: Path, position: int, content: bytes) -> None:
    """Write ``content`` at ``position``, where what counts ends, and cut off what lay beyond.

    Raises:
        ArtifactError: The file is shorter than that.
        OSError: It cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        if os.fstat(descriptor).st_size < position:
            raise ArtifactError(f"{path} is shorter than the {position} bytes that count")
        file.truncate(position)
        file.seek(position)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _checked(change: ItemChange) -> bytes:
    try:
        content = _CHANGE.dump_json(change)
        _CHANGE.validate_json(content)
    except (ValidationError, InvalidInputError, PydanticSerializationError) as error:
        change.to_json()  # says which field it is
        raise InvalidInputError("item", "cannot be written as JSON") from error
    return content


def _line(content: bytes) -> bytes:
    return b"%08x %b\n" % (zlib.crc32(content), content)


def _entry(line: bytes, path: Path, position: int) -> ItemChange:
    content = line[_CHECKSUM_CHARACTERS + 1 : -1]
    if not line.endswith(b"\n") or line != _line(content):
        raise ArtifactError(f"{path} is damaged at byte {position}")
    try:
        return _CHANGE.validate_json(content)
    except (ValidationError, InvalidInputError) as error:
        raise ArtifactError(f"{path} holds at byte {position} what this release cannot read") from error
