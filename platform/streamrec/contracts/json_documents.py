"""Frozen dataclasses to JSON and back: one declaration of the fields checks documents and makes their schema.

A class takes part by `STRICT` as its ``__pydantic_config__`` and by bounds in the annotations of its fields.
What a field alone cannot say, such as bounds of one field by another, the class checks when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

from streamrec.contracts.canonical_json import canonical_json, dotted_path, one_line
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.models import MODEL_REF_MAXIMUM_LENGTH, MODEL_REF_PATTERN, ModelRef

STRICT: Final = ConfigDict(
    extra="forbid", strict=True, frozen=True, json_schema_serialization_defaults_required=True
)
"""Unknown fields are refused, and no value is turned into one of another type."""

NO_CONTROL_CHARACTERS: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"
"""Text of one line: no line breaks, no escape sequences for a terminal."""

_KEY: Final = "[key]"
"""What pydantic puts at the end of the path where the key itself is wrong."""

Document = TypeVar("Document")


def read_document(kind: Callable[..., Document], document: Mapping[str, Any], *, path: str = "") -> Document:
    """Check plain JSON values against the fields of ``kind`` and build one.

    Args:
        kind: A frozen dataclass.
        document: Plain JSON values, for example from `parse_json`.
        path: Dotted path of the document in a larger one; empty where it is the whole.

    Raises:
        InvalidInputError: A field is missing, unknown, of another type or out of bounds; ``field`` is its
            dotted path.
    """
    if not isinstance(document, Mapping):
        raise InvalidInputError(path or "document", "must be a JSON object")
    try:
        read: Document = _adapter(kind).validate_json(canonical_json(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        inside = dotted_path(part for part in first["loc"] if part != _KEY)
        field = ".".join(filter(None, (path, inside))) or "document"
        raise InvalidInputError(field, one_line(_problem(first))) from error
    except InvalidInputError as error:
        field = f"{path}.{error.field}" if path else error.field
        raise InvalidInputError(field, error.problem) from error
    return read


def document_json(document: object) -> dict[str, Any]:
    """The fields of a frozen dataclass as plain JSON values."""
    kind: Any = type(document)
    content: dict[str, Any] = _adapter(kind).dump_python(document, mode="json")
    return content


def json_schema(kind: Any, *, by_people: bool = False) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the documents that `read_document` accepts for ``kind``.

    Args:
        kind: A frozen dataclass.
        by_people: For documents that people write, which leave out what has a default. A document that a
            program writes holds all of its fields.
    """
    return _adapter(kind).json_schema(mode="validation" if by_people else "serialization")


@lru_cache(maxsize=256)
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    annotation: Any = kind
    return TypeAdapter(annotation)


def _problem(error: Any) -> str:
    if error["type"] == "missing":
        return "is missing"
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return "is not a field of this document"
    message = str(error["ctx"]["error"] if error["type"] == "value_error" else error["msg"])
    return message[0].lower() + message[1:]


def _time(value: object) -> datetime:
    # Read here: pydantic takes a number, in quotes too, for seconds since 1970.
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a time as text, for example 2026-01-31T12:00:00Z")
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError("must be an ISO 8601 time, for example 2026-01-31T12:00:00Z") from error


def _in_utc(time: datetime) -> datetime:
    if time.utcoffset() is None:
        raise ValueError("must have a time zone, for example 2026-01-31T12:00:00Z")
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must be within the years 1 to 9999 in UTC") from error


def _time_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


UtcTime = Annotated[
    datetime,
    BeforeValidator(_time),
    AfterValidator(_in_utc),
    PlainSerializer(_time_text, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment. Read with any offset from UTC, but never without one; written in UTC."""


def _model_ref(value: object) -> ModelRef:
    if isinstance(value, ModelRef):
        return value
    if not isinstance(value, str):
        raise ValueError("must be text of the form NAME@VERSION")
    try:
        return ModelRef.parse(value)
    except InvalidInputError as error:
        raise ValueError(error.problem) from error


ModelRefText = Annotated[
    ModelRef,
    PlainValidator(_model_ref),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": f"^{MODEL_REF_PATTERN}$", "maxLength": MODEL_REF_MAXIMUM_LENGTH}
    ),
]
"""A model version, written as ``NAME@VERSION``."""
