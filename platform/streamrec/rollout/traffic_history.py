"""What was changed in the traffic document, by whom and why: one line of JSON a change, oldest first."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from streamrec.contracts.errors import ArtifactError, DependencyError, InvalidInputError
from streamrec.contracts.json_documents import (
    NO_CONTROL_CHARACTERS,
    STRICT,
    ModelRefText,
    UtcTime,
    document_json,
    read_document,
)
from streamrec.contracts.slots import SlotName
from streamrec.files.durable_files import fsync_file, make_folder

REASON_MAXIMUM_CHARACTERS: Final = 2_000
_MAXIMUM_BYTES: Final = 64 * 1024 * 1024


class ChangeKind(StrEnum):
    """What was done."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True)
class TrafficChange:
    """One change.

    Attributes:
        schema: The format.
        revision: Of the traffic document that it made.
        at: When.
        actor: Who.
        kind: What was done.
        reason: Why, in the actor's words; may be empty.
        before, after: Champion by slot, of the slots that changed; an empty slot is not in ``before``.
        undoes: Revision of the promotion that a rollback undid; None for a promotion.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.traffic_change.v1"] = field(
        default="streamrec.traffic_change.v1", kw_only=True
    )
    revision: Annotated[int, Field(ge=1)]
    at: UtcTime
    actor: Annotated[str, Field(min_length=1, max_length=256, pattern=NO_CONTROL_CHARACTERS)]
    kind: ChangeKind
    reason: Annotated[str, Field(max_length=REASON_MAXIMUM_CHARACTERS, pattern=NO_CONTROL_CHARACTERS)]
    before: Mapping[SlotName, ModelRefText]
    after: Mapping[SlotName, ModelRefText]
    undoes: Annotated[int, Field(ge=1)] | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return document_json(self)


def append_change(path: Path, change: TrafficChange) -> None:
    """Add a change; on the disk when this returns. One process writes at a time.

    What a killed writer left at the end, a line without its end, is cut off first.

    Raises:
        DependencyError: It cannot be written.
    """
    line = json.dumps(change.to_json(), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    try:
        make_folder(path.parent)
        with path.open("ab+") as file:
            file.seek(0)
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
            file.write(line)
            file.flush()
            fsync_file(file.fileno())
    except OSError as error:
        raise DependencyError(f"{path} cannot be written: {os.strerror(error.errno or 0)}") from error


def read_changes(path: Path, *, up_to: int) -> Sequence[TrafficChange]:
    """Return the changes, oldest first.

    A line is written before its document is published. So one whose revision came to nothing, because the
    writer was killed in between, is followed by another of the same revision, which counts; or its revision
    is above the one in force.

    Args:
        path: The file; none means no changes.
        up_to: Revision in force.

    Raises:
        ArtifactError: A line is damaged.
        DependencyError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            lines = file.read(_MAXIMUM_BYTES).split(b"\n")[:-1]
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise DependencyError(f"{path} cannot be read: {os.strerror(error.errno or 0)}") from error
    changes: dict[int, TrafficChange] = {}
    for number, line in enumerate(lines, start=1):
        try:
            change: TrafficChange = read_document(TrafficChange, json.loads(line))
        except (ValueError, InvalidInputError) as error:
            raise ArtifactError(f"{path}, line {number}: is damaged ({error})") from error
        if change.revision <= up_to:
            changes[change.revision] = change
    return [changes[revision] for revision in sorted(changes)]
