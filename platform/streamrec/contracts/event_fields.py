"""The types of the fields of events: what each may hold, as far as one field alone can say.

pydantic reads these annotations where an event comes in or goes out (`streamrec.events.records`), and
writes the JSON Schema from them. They cost nothing where an event is made in code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, JsonValue, StringConstraints
from pydantic_core import to_json

MAXIMUM_ITEMS: Final = 2_000
"""Items of one slate, and candidates of one request."""

MAXIMUM_EXTENSION_BYTES: Final = 16 * 1024
MAXIMUM_OBJECT_BYTES: Final = 64 * 1024

_EXTENSION_SCHEMA: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\.v[1-9][0-9]{0,5}")


def _moment(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        raise ValueError("must have a time zone")
    return moment.astimezone(UTC)


def _bounded(value: Mapping[str, JsonValue], maximum_bytes: int) -> Mapping[str, JsonValue]:
    content = to_json(value, inf_nan_mode="constants")
    if len(content) > maximum_bytes:
        raise ValueError(f"takes {len(content)} bytes as JSON; at most {maximum_bytes} are allowed")
    if b"NaN" in content or b"Infinity" in content:
        json.dumps(value, allow_nan=False)  # raises where it is a number and not a text that reads so
    return value


def _object(value: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    return _bounded(value, MAXIMUM_OBJECT_BYTES)


def _extension(value: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    schema = value.get("schema")
    if not isinstance(schema, str) or not _EXTENSION_SCHEMA.fullmatch(schema):
        raise ValueError(
            "needs a field 'schema' of the form SPOKE.NAME.vN, for example 'search.prediction.v1'"
        )
    return _bounded(value, MAXIMUM_EXTENSION_BYTES)


Text = Annotated[str, StringConstraints(min_length=1)]
"""An id, or another text that is not empty. Only the size of the whole record limits its length."""

Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
"""A time with a zone, ISO 8601; UTC once it is read."""

VersionName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*@[1-9][0-9]*$", max_length=80)
]
"""A registered version, ``NAME@VERSION``."""

KindName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
"""A lower-case word of an open vocabulary."""

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
"""ISO 4217, for example ``EUR``."""

Seed = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
"""64 bits in hexadecimal: a number of JSON holds 53 exactly."""

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256, hexadecimal."""

Revision = Annotated[int, Field(ge=0)]
"""Of a published document; it only grows."""

Probability = Annotated[float, Field(ge=0.0, le=1.0)]

ItemIds = Annotated[tuple[Text, ...], Field(max_length=MAXIMUM_ITEMS)]
Scores = Annotated[tuple[float, ...], Field(max_length=MAXIMUM_ITEMS)]

JsonObject = Annotated[Mapping[str, JsonValue], AfterValidator(_object)]
"""A JSON object whose numbers are finite, at most `MAXIMUM_OBJECT_BYTES`."""

Extension = Annotated[Mapping[str, JsonValue], AfterValidator(_extension)]
"""The fields of one spoke: a JSON object that names its own ``schema``, at most `MAXIMUM_EXTENSION_BYTES`.

The hub stores it and does not look inside; the spoke that writes it owns its meaning and checks it.
"""
