"""What the event log holds, and its form on one line: JSON, checked on the way out as on the way in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.event_fields import Moment
from streamrec.contracts.events import STRICT, Exposure, Impression, Label, Outcome, Prediction
from streamrec.events import version_1

MAXIMUM_RECORD_BYTES: Final = 1024 * 1024
"""A slate of 500 items takes about 40 KiB."""

MAXIMUM_PAYLOAD_CHARACTERS: Final = 64 * 1024
"""What is kept of a quarantined event: a request's body is no longer than that."""


class RecordKind(StrEnum):
    """Which of the record types a line or a Parquet partition holds."""

    PREDICTION = "prediction"
    IMPRESSION = "impression"
    EXPOSURE = "exposure"
    OUTCOME = "outcome"
    LABEL = "label"
    QUARANTINED = "quarantined"


class QuarantineReason(StrEnum):
    """Why an event was set aside. Set aside is not dropped: it stays in the log, with its reason."""

    UNKNOWN_ITEM = "unknown_item"
    FUTURE_DATED = "future_dated"
    IMPOSSIBLE_DATE = "impossible_date"
    MALFORMED = "malformed"
    CORRUPT = "corrupt"


@dataclass(frozen=True, slots=True)
class QuarantinedEvent:
    """An event that must not count, kept for whoever looks for the cause.

    Attributes:
        event_id: The client's, where it could be read.
        reason: Why it was set aside.
        received_at: When, UTC.
        payload: The event as it came, at most `MAXIMUM_PAYLOAD_CHARACTERS`.
        unit: Whose event it is, where it could be read.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    event_id: Annotated[str, Field(min_length=1)] | None
    reason: QuarantineReason
    received_at: Moment
    payload: Annotated[str, Field(max_length=MAXIMUM_PAYLOAD_CHARACTERS)]
    unit: Annotated[str, Field(min_length=1)] | None = field(default=None, kw_only=True)
    schema: Literal["streamrec.quarantined_event.v2"] = field(
        default="streamrec.quarantined_event.v2", kw_only=True
    )

    @classmethod
    def of(cls, record: Outcome | Label, reason: QuarantineReason) -> QuarantinedEvent:
        """Set an event aside."""
        payload = to_json(record)[:MAXIMUM_PAYLOAD_CHARACTERS]
        if isinstance(record, Outcome):
            return cls(record.event_id, reason, record.received_at, payload, unit=record.unit)
        return cls(None, reason, record.received_at, payload)


Record = Prediction | Impression | Exposure | Outcome | Label | QuarantinedEvent

RECORD_TYPES: Final[Mapping[type[Record], RecordKind]] = {
    Prediction: RecordKind.PREDICTION,
    Impression: RecordKind.IMPRESSION,
    Exposure: RecordKind.EXPOSURE,
    Outcome: RecordKind.OUTCOME,
    Label: RecordKind.LABEL,
    QuarantinedEvent: RecordKind.QUARANTINED,
}

_ADAPTER: Final[TypeAdapter[Record]] = TypeAdapter(
    Annotated[Record, Field(discriminator="schema")], config=STRICT
)
_QUOTED_CHARACTERS: Final = 40


def kind_of(record: Record) -> RecordKind:
    """Return the record's kind."""
    return RECORD_TYPES[type(record)]


def moment_of(record: Record) -> datetime:
    """Return when the platform wrote or received it: its own clock, never a client's."""
    if isinstance(record, Prediction | Impression):
        return record.predicted_at
    return record.at if isinstance(record, Exposure) else record.received_at


def partition_date(record: Record) -> date:
    """Return the UTC date by the platform's own clock: a client's clock must not choose a partition."""
    return moment_of(record).astimezone(UTC).date()


def to_json(record: Record) -> str:
    """Return one line of JSON.

    Raises:
        InvalidInputError: A field breaks the rules that reading checks; names it.
    """
    try:
        content = _ADAPTER.dump_json(record, warnings="error")
    except PydanticSerializationError as error:
        raise InvalidInputError(kind_of(record).value, _one_line(f"cannot be written: {error}")) from error
    _validated(content)
    return content.decode()


def from_json(text: str | bytes) -> Record:
    """Return the record of one line; one of version 1 in today's form.

    Raises:
        InvalidInputError: It is not one; names the field.
    """
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "union_tag_not_found":
            return _from_version_1(text)
        raise _refused(first) from error


def to_document(record: Record) -> dict[str, Any]:
    """Return the record's fields with times and enumerations as they are, everything else as plain values."""
    document: dict[str, Any] = _ADAPTER.dump_python(record)
    return document


def from_document(document: Mapping[str, Any]) -> Record:
    """Return the record that `to_document` describes, checking every field.

    Args:
        document: Its values have the types that `to_document` gives them, but lists may stand for tuples and
            texts for enumerations.

    Raises:
        InvalidInputError: A field is missing, unknown or wrong; names it.
    """
    try:
        return _ADAPTER.validate_python(document, strict=False)
    except ValidationError as error:
        raise _refused(error.errors(include_url=False)[0]) from error


def ordering_text(record: Record) -> str:
    """Return a text that is the same for equal records and no others, to break ties with."""
    document = _ADAPTER.dump_python(record, mode="json")
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _from_version_1(text: str | bytes) -> Record:
    try:
        content = json.dumps(version_1.migrated(json.loads(text)))
    except ValueError as error:  # an integer of thousands of digits
        raise InvalidInputError("record", _one_line(str(error))) from error
    return _validated(content)


def _validated(content: str | bytes) -> Record:
    try:
        return _ADAPTER.validate_json(content)
    except ValidationError as error:
        raise _refused(error.errors(include_url=False)[0]) from error


def _refused(error: ErrorDetails) -> InvalidInputError:
    # The first part of a path names the type of the record.
    path = ".".join(str(part) for part in error["loc"][1:])
    if error["type"] == "missing":
        return InvalidInputError(_one_line(path), "is missing")
    if error["type"] == "unexpected_keyword_argument":
        return InvalidInputError(_one_line(path), "is not a field of this record")
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return InvalidInputError("schema", "names no kind of record that this version of the platform reads")
    return InvalidInputError(_one_line(path) or "record", _one_line(error["msg"]))


def _one_line(text: str) -> str:
    # Names and messages may repeat what came from outside.
    line = text.encode("unicode_escape").decode("ascii")
    return line if len(line) <= 4 * _QUOTED_CHARACTERS else f"{line[: 4 * _QUOTED_CHARACTERS]}..."
