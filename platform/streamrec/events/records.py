"""What the event log holds, and its two forms: one line of JSON, and Arrow tables.

Reading is strict: a line with a missing or unknown field, a wrong type, a number that is not finite or a
time without a zone is not a record.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeVar

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.events import EventKind, Impression, Outcome, Rung

MAXIMUM_RECORD_BYTES: Final = 1024 * 1024
"""A slate of 500 items takes about 40 KiB."""

MAXIMUM_PAYLOAD_CHARACTERS: Final = 64 * 1024
"""What is kept of a quarantined event: a request's body is no longer than that."""


class RecordKind(StrEnum):
    """Which of the record types a line or a Parquet partition holds."""

    IMPRESSION = "impression"
    OUTCOME = "outcome"
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
    """

    event_id: str | None
    reason: QuarantineReason
    received_at: datetime
    payload: str

    @classmethod
    def of(cls, outcome: Outcome, reason: QuarantineReason) -> QuarantinedEvent:
        """Set an outcome aside."""
        return cls(outcome.event_id, reason, outcome.received_at, to_json(outcome))


Record = Impression | Outcome | QuarantinedEvent


def kind_of(record: Record) -> RecordKind:
    """Return the record's kind."""
    if isinstance(record, Impression):
        return RecordKind.IMPRESSION
    return RecordKind.OUTCOME if isinstance(record, Outcome) else RecordKind.QUARANTINED


def partition_date(record: Record) -> date:
    """Return the UTC date by the platform's own clock: a client's clock must not choose a partition."""
    moment = record.served_at if isinstance(record, Impression) else record.received_at
    return moment.astimezone(UTC).date()


def to_json(record: Record) -> str:
    """Return one line of ASCII JSON, the same for equal records.

    Raises:
        InvalidInputError: A field breaks the rules that reading checks; names it.
    """
    document = to_document(record)
    try:
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(str(document["record"]), f"cannot be written as JSON: {error}") from error
    from_document(document)
    return text


def from_json(text: str | bytes) -> Record:
    """Return the record of one line.

    Raises:
        InvalidInputError: It is not one; names the field.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("record", f"is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidInputError("record", "is not an object")
    return from_document(document)


def to_document(record: Record) -> dict[str, Any]:
    """Return the record as plain JSON values."""
    if isinstance(record, Impression):
        return {
            "record": RecordKind.IMPRESSION.value,
            "request_id": record.request_id,
            "user_id": record.user_id,
            "served_at": _spell(record.served_at),
            "item_ids": list(record.item_ids),
            "scores": list(record.scores),
            "propensities": list(record.propensities),
            "model_versions": dict(record.model_versions),
            "rung": record.rung.value,
            "cold_start": record.cold_start,
            "latency_ms": record.latency_ms,
            "variants": dict(record.variants),
        }
    if isinstance(record, Outcome):
        return {
            "record": RecordKind.OUTCOME.value,
            "event_id": record.event_id,
            "user_id": record.user_id,
            "item_id": record.item_id,
            "kind": record.kind.value,
            "occurred_at": _spell(record.occurred_at),
            "received_at": _spell(record.received_at),
            "request_id": record.request_id,
            "value": record.value,
        }
    return {
        "record": RecordKind.QUARANTINED.value,
        "event_id": record.event_id,
        "reason": record.reason.value,
        "received_at": _spell(record.received_at),
        "payload": record.payload,
    }


def from_document(document: Mapping[str, Any]) -> Record:
    """Return the record that `to_document` describes, checking every field.

    Raises:
        InvalidInputError: A field is missing, unknown or wrong; names it.
    """
    kind = document.get("record")
    if kind == RecordKind.IMPRESSION:
        return _impression(_Fields(document))
    if kind == RecordKind.OUTCOME:
        return _outcome(_Fields(document))
    if kind == RecordKind.QUARANTINED:
        return _quarantined(_Fields(document))
    raise InvalidInputError("record", f"unknown kind of record {kind!r}")


def _impression(fields: _Fields) -> Impression:
    record = Impression(
        request_id=fields.text("request_id"),
        user_id=fields.text("user_id"),
        served_at=fields.moment("served_at"),
        item_ids=fields.sequence("item_ids", _text),
        scores=fields.sequence("scores", _number),
        propensities=fields.sequence("propensities", _number),
        model_versions=fields.mapping("model_versions", _whole_number),
        rung=fields.choice("rung", Rung),
        cold_start=fields.flag("cold_start"),
        latency_ms=fields.number("latency_ms"),
        variants=fields.mapping("variants", _text),
    )
    fields.finish()
    for name, values in (("scores", record.scores), ("propensities", record.propensities)):
        if len(values) != len(record.item_ids):
            raise InvalidInputError(name, f"has {len(values)} entries for {len(record.item_ids)} items")
    return record


def _outcome(fields: _Fields) -> Outcome:
    record = Outcome(
        event_id=fields.text("event_id"),
        user_id=fields.text("user_id"),
        item_id=fields.text("item_id"),
        kind=fields.choice("kind", EventKind),
        occurred_at=fields.moment("occurred_at"),
        received_at=fields.moment("received_at"),
        request_id=fields.optional("request_id", _text),
        value=fields.optional("value", _number),
    )
    fields.finish()
    return record


def _quarantined(fields: _Fields) -> QuarantinedEvent:
    record = QuarantinedEvent(
        event_id=fields.optional("event_id", _text),
        reason=fields.choice("reason", QuarantineReason),
        received_at=fields.moment("received_at"),
        payload=fields.any_text("payload"),
    )
    fields.finish()
    if len(record.payload) > MAXIMUM_PAYLOAD_CHARACTERS:
        raise InvalidInputError("payload", f"longer than {MAXIMUM_PAYLOAD_CHARACTERS} characters")
    return record


T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text that is not empty")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("must be a finite number")
    return float(value)


def _whole_number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a whole number")
    return value


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError("must have a time zone")
    return moment.astimezone(UTC)


def _spell(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise InvalidInputError("time", f"{moment} must have a time zone")
    return moment.astimezone(UTC).isoformat()


class _Fields:
    """Takes fields out of a document one by one, and at the end none may be left."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._left = dict(document)
        self._left.pop("record", None)

    def take(self, name: str, convert: Callable[[Any], T]) -> T:
        if name not in self._left:
            raise InvalidInputError(name, "is missing")
        try:
            return convert(self._left.pop(name))
        except (ValueError, OverflowError) as error:
            raise InvalidInputError(name, str(error)) from error

    def text(self, name: str) -> str:
        return self.take(name, _text)

    def any_text(self, name: str) -> str:
        value = self.take(name, lambda found: found)
        if not isinstance(value, str):
            raise InvalidInputError(name, "must be a text")
        return value

    def number(self, name: str) -> float:
        return self.take(name, _number)

    def moment(self, name: str) -> datetime:
        return self.take(name, _moment)

    def flag(self, name: str) -> bool:
        value = self.take(name, lambda found: found)
        if not isinstance(value, bool):
            raise InvalidInputError(name, "must be true or false")
        return value

    def choice(self, name: str, choices: type[E]) -> E:
        return self.take(name, lambda value: choices(_text(value)))

    def optional(self, name: str, convert: Callable[[Any], T]) -> T | None:
        return self.take(name, lambda value: None if value is None else convert(value))

    def sequence(self, name: str, convert: Callable[[Any], T]) -> tuple[T, ...]:
        def each(value: Any) -> tuple[T, ...]:
            if not isinstance(value, Sequence) or isinstance(value, str):
                raise ValueError("must be a list")
            return tuple(convert(element) for element in value)

        return self.take(name, each)

    def mapping(self, name: str, convert: Callable[[Any], T]) -> Mapping[str, T]:
        def each(value: Any) -> Mapping[str, T]:
            if not isinstance(value, Mapping):
                raise ValueError("must be an object")
            return MappingProxyType({_text(key): convert(element) for key, element in value.items()})

        return self.take(name, each)

    def finish(self) -> None:
        if self._left:
            raise InvalidInputError(min(self._left), "is not a field of this record")
