"""JSON of request bodies: read strictly, so that no two readers can understand it differently."""

from __future__ import annotations

import json
import math
from typing import Any, Final, TypeVar

from pydantic import BaseModel
from starlette.requests import Request

from services.recommendations.gateway.edge.problems import BODY
from streamrec.contracts.errors import InvalidInputError

_JSON: Final = "application/json"
_CHARSETS: Final = ("utf-8", "utf8", "us-ascii")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_UTF_16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_MOST_DIGITS: Final = 400
"""No float holds more than 309 digits before the point, and Python refuses to read some thousand."""
_TOO_DEEP: Final = "Invalid JSON: nested too deeply"
_QUOTED_CHARACTERS: Final = 40

M = TypeVar("M", bound=BaseModel)


class RepeatingObject(dict[str, Any]):
    """An object that holds a field twice, or in which another one does.

    Attributes:
        field: Dotted path of the field that stands there twice.
    """

    field: str


async def read_json(request: Request) -> Any:
    """Return the JSON document of a body.

    Numbers too large for a float are read as infinite, so that whoever checks the field refuses it. An object
    with a repeated field is a `RepeatingObject`.

    Raises:
        InvalidInputError: The content type is not JSON in UTF-8, or the body is not; names ``body``.
    """
    _check_content_type(request.headers.get("content-type", ""))
    body = (await request.body()).removeprefix(_BYTE_ORDER_MARK)
    if body.startswith(_UTF_16_MARKS):
        raise InvalidInputError(BODY, "is UTF-16; send UTF-8")
    try:
        return json.loads(body.decode(), object_pairs_hook=_object, parse_int=_integer)
    except UnicodeDecodeError as error:
        raise InvalidInputError(BODY, f"is not UTF-8: byte {error.start} is wrong") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise InvalidInputError(BODY, f"Invalid JSON: {error.msg} at {where}") from error
    except RecursionError as error:
        raise InvalidInputError(BODY, _TOO_DEEP) from error


def to_model(document: Any, model: type[M]) -> M:
    """Validate a document that `read_json` returned.

    The validator reads JSON once more, because only there it is strict without refusing texts for times.

    Raises:
        InvalidInputError: An object holds a field twice.
        ValidationError: The document does not fit; names the fields.
    """
    if isinstance(document, RepeatingObject):
        raise InvalidInputError(document.field, "stands there twice")
    return model.model_validate_json(to_text(document))


def to_text(document: Any) -> str:
    """Return the document as JSON, in ASCII. What is not finite is written as the validator refuses it.

    Raises:
        InvalidInputError: It is nested too deeply; names ``body``.
    """
    try:
        return json.dumps(document)
    except RecursionError as error:
        raise InvalidInputError(BODY, _TOO_DEEP) from error


def _check_content_type(header: str) -> None:
    media_type, *parameters = (part.strip().lower() for part in header.split(";"))
    if media_type != _JSON:
        raise InvalidInputError(BODY, f"must be sent with the content type {_JSON}")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' "') not in _CHARSETS:
            raise InvalidInputError(BODY, "must be UTF-8, as JSON is (RFC 8259)")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) == len(pairs) and not any(isinstance(value, RepeatingObject) for _, value in pairs):
        return document
    repeating = RepeatingObject(document)
    repeating.field = _repeated_field(pairs)[:_QUOTED_CHARACTERS]
    return repeating


def _repeated_field(pairs: list[tuple[str, Any]]) -> str:
    met: set[str] = set()
    for name, value in pairs:
        if name in met:
            return name
        met.add(name)
        if isinstance(value, RepeatingObject):
            return f"{name}.{value.field}"
    raise ValueError("no field is repeated")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else math.inf
