"""Errors over HTTP: RFC 9457 problem documents."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from streamrec.contracts.errors import InvalidInputError

PROBLEM_CONTENT_TYPE: Final = "application/problem+json"
BODY: Final = "body"
"""The field that stands for the body as a whole."""

RETRY_AFTER: Final = {"retry-after": "1"}
"""The header that says when another attempt makes sense."""

_MAXIMUM_ERRORS: Final = 20
_MAXIMUM_TEXT: Final = 300
_FOLDERS: Final = re.compile(r"(?<![\w.:/])(?:/[^\s/:;,'\"()]+)+/(?=[^\s/:;,'\"()])")
"""The folders of an absolute path, up to its last part. No address: those have a host before the slash."""
_TYPE_PREFIX: Final = "urn:streamrec:problem:"


class FieldProblem(BaseModel):
    """One thing that is wrong with one field."""

    field: str = Field(description="Dotted path of the field; `body` for the body as a whole.")
    problem: str = Field(description="What is wrong with it.")


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(json_schema_extra={"description": "A problem document (RFC 9457)."})

    type: str = Field(description="A URN that identifies the kind of problem.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What went wrong this time.")
    errors: list[FieldProblem] = Field(default_factory=list, description="The fields at fault, 20 at most.")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its status, URN suffix and title."""

    status: HTTPStatus
    slug: str
    title: str


INVALID_INPUT: Final = Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-input", "The request is not valid")
STARTING: Final = Kind(HTTPStatus.SERVICE_UNAVAILABLE, "starting", "The service is starting")
NOT_READY: Final = Kind(HTTPStatus.SERVICE_UNAVAILABLE, "not-ready", "The service is not ready")
TOO_SLOW: Final = Kind(HTTPStatus.REQUEST_TIMEOUT, "body-too-slow", "The body came too slowly")
TOO_LARGE: Final = Kind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", "The body is too large")
UNSUPPORTED_ENCODING: Final = Kind(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-encoding", "The body's encoding is not read"
)
OVERLOADED: Final = Kind(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", "The service is overloaded")
EXPIRED: Final = Kind(HTTPStatus.SERVICE_UNAVAILABLE, "deadline-exceeded", "The request's time was over")
NOT_STORED: Final = Kind(
    HTTPStatus.SERVICE_UNAVAILABLE, "events-not-stored", "The events could not be stored"
)
INTERNAL: Final = Kind(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "Something went wrong in the service")


def problem_response(
    kind: Kind,
    detail: str,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Write a problem document."""
    document = Problem(
        type=_TYPE_PREFIX + kind.slug,
        title=kind.title,
        status=kind.status.value,
        detail=detail,
        errors=list(errors[:_MAXIMUM_ERRORS]),
    )
    return Response(
        content=json.dumps(document.model_dump(), allow_nan=False).encode(),
        status_code=kind.status.value,
        media_type=PROBLEM_CONTENT_TYPE,
        headers=dict(headers) if headers else None,
    )


def without_folders(text: str) -> str:
    """Return the text with absolute paths cut to their last part: where things lie is nobody's business."""
    return _FOLDERS.sub("", text)


def invalid_input(field: str, problem: str, headers: Mapping[str, str] | None = None) -> Response:
    """A 422 that names one field."""
    return about_field(INVALID_INPUT, field, problem, headers)


def about_field(kind: Kind, field: str, problem: str, headers: Mapping[str, str] | None = None) -> Response:
    """A problem of any kind that names one field."""
    return problem_response(
        kind, f"{field}: {problem}", [FieldProblem(field=field, problem=problem)], headers
    )


def method_not_allowed(method: str, headers: Mapping[str, str]) -> Response:
    """A 405; the headers say what is allowed."""
    status = HTTPStatus.METHOD_NOT_ALLOWED
    detail = f"{method[:_MAXIMUM_TEXT]} is not answered here; allowed: {headers['allow']}"
    return problem_response(_kind_of(status), detail, headers=headers)


def from_validation_error(error: ValidationError) -> Response:
    """A 422 that names every field that pydantic refused, and says nothing of the values."""
    return problem_response(INVALID_INPUT, words_of(error), _problems_of(error))


def words_of(error: ValidationError, whole: str = BODY) -> str:
    """Return one line that names the first field that pydantic refused, and says nothing of the values.

    ``whole`` is what is named where no single field is at fault.
    """
    first, *others = _problems_of(error, whole)
    more = f" (and {len(others)} more)" if others else ""
    return f"{first.field}: {first.problem}{more}"


def install(app: FastAPI) -> None:
    """Make every error of an application a problem document, those of the framework included."""

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, InvalidInputError)  # noqa: S101 - registered for this type alone
        return invalid_input(error.field, error.problem)

    async def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type alone
        kind = _kind_of(HTTPStatus(error.status_code))
        return problem_response(kind, str(error.detail), headers=error.headers)

    async def unexpected(_request: Request, _error: Exception) -> Response:
        # The server logs the traceback; the caller learns nothing of the inside.
        return problem_response(INTERNAL, "The error was logged.")

    app.add_exception_handler(InvalidInputError, invalid)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(Exception, unexpected)


def responses(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """Describe problem responses for the OpenAPI document."""
    described: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        before = described.get(kind.status.value)
        title = f"{before['description']}; or: {kind.title}" if before else kind.title
        described[kind.status.value] = {
            "description": title,
            "content": {PROBLEM_CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return described


def _problems_of(error: ValidationError, whole: str = BODY) -> list[FieldProblem]:
    return [
        FieldProblem(field=_path(details["loc"], whole), problem=_words(details["msg"]))
        for details in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _kind_of(status: HTTPStatus) -> Kind:
    return Kind(status, status.phrase.lower().replace(" ", "-"), status.phrase)


def _path(location: tuple[int | str, ...], whole: str) -> str:
    return ".".join(str(part)[:_MAXIMUM_TEXT] for part in location) if location else whole


def _words(message: str) -> str:
    return message[:_MAXIMUM_TEXT]
