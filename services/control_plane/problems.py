"""Errors over HTTP: RFC 9457 problem documents, one kind for each branch of the error tree."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from streamrec.contracts.canonical_json import dotted_path, one_line
from streamrec.contracts.errors import (
    ArtifactError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    PermanentError,
    PermissionDeniedError,
    StreamRecError,
    TemporaryError,
)

_LOG = logging.getLogger(__name__)

PROBLEM_CONTENT_TYPE: Final = "application/problem+json"
RETRY_AFTER: Final = {"retry-after": "1"}
_TYPE_PREFIX: Final = "urn:streamrec:problem:"
_MAXIMUM_ERRORS: Final = 20
_MAXIMUM_TEXT: Final = 2_000
_FOLDERS: Final = re.compile(r"(?<![\w.:/])(?:/[^\s/:;,'\"()]+)+/(?=[^\s/:;,'\"()])")
"""The folders of an absolute path, up to its last part: where things lie is nobody's business."""


class UnauthenticatedError(PermanentError):
    """Nothing says who asks."""


class FieldProblem(BaseModel):
    """One thing that is wrong with one field."""

    field: str = Field(description="Dotted path of the field; `body` for the body as a whole.")
    problem: str = Field(description="What is wrong with it.")


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(description="A URN that identifies the kind of problem.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What went wrong this time, and what to do.")
    errors: list[FieldProblem] = Field(default_factory=list, description="The fields at fault, 20 at most.")


_KINDS: Final[Sequence[tuple[type[StreamRecError], HTTPStatus, str, str]]] = (
    (UnauthenticatedError, HTTPStatus.UNAUTHORIZED, "unauthenticated", "Who asks is not known"),
    (InvalidInputError, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-input", "The request is not valid"),
    (NotFoundError, HTTPStatus.NOT_FOUND, "not-found", "There is no such thing"),
    (PermissionDeniedError, HTTPStatus.FORBIDDEN, "permission-denied", "Whoever asks may not"),
    (ConflictError, HTTPStatus.CONFLICT, "conflict", "Somebody else was first"),
    (OverloadedError, HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", "There is too much to do"),
    (TemporaryError, HTTPStatus.SERVICE_UNAVAILABLE, "dependency", "Something that is needed did not answer"),
    (ArtifactError, HTTPStatus.CONFLICT, "damaged", "Something is not what was written down"),
    (NotReadyError, HTTPStatus.CONFLICT, "not-ready", "Something that is needed is missing"),
    (StreamRecError, HTTPStatus.CONFLICT, "refused", "It was refused"),
)
"""The first that fits."""


def problem_response(
    status: HTTPStatus,
    slug: str,
    title: str,
    detail: str,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Write a problem document."""
    document = Problem(
        type=_TYPE_PREFIX + slug,
        title=title,
        status=status.value,
        detail=_shown(detail),
        errors=list(errors[:_MAXIMUM_ERRORS]),
    )
    return Response(
        content=json.dumps(document.model_dump(), allow_nan=False).encode(),
        status_code=status.value,
        media_type=PROBLEM_CONTENT_TYPE,
        headers=dict(headers) if headers else None,
    )


def of_error(error: StreamRecError) -> Response:
    """The answer to an error that the platform raised on purpose."""
    _, status, slug, title = next(kind for kind in _KINDS if isinstance(error, kind[0]))
    errors: list[FieldProblem] = []
    if isinstance(error, InvalidInputError):
        errors = [FieldProblem(field=error.field, problem=_shown(error.problem))]
    headers: Mapping[str, str] | None = None
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers = RETRY_AFTER
    elif status is HTTPStatus.UNAUTHORIZED:
        headers = {"www-authenticate": "Bearer"}
    return problem_response(status, slug, title, str(error), errors, headers)


def install(app: FastAPI) -> None:
    """Answer every error of an application with a problem document."""

    async def on_purpose(_request: Request, error: Exception) -> Response:
        assert isinstance(error, StreamRecError)  # noqa: S101 - that is what it is installed for
        return of_error(error)

    async def not_valid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        found = [_field_problem(one) for one in error.errors()[:_MAXIMUM_ERRORS]]
        detail = f"{found[0].field}: {found[0].problem}" if found else "the request is not valid"
        return problem_response(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-input", "The request is not valid", detail, found
        )

    async def by_status(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        status = HTTPStatus(error.status_code)
        slug = status.phrase.lower().replace(" ", "-")
        return problem_response(status, slug, status.phrase, str(error.detail), headers=error.headers)

    async def unforeseen(_request: Request, error: Exception) -> Response:
        _LOG.error("a request failed", exc_info=error)
        return problem_response(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong in the control plane",
            "its log says what; nothing is known about whether the request had an effect",
        )

    app.add_exception_handler(StreamRecError, on_purpose)
    app.add_exception_handler(RequestValidationError, not_valid)
    app.add_exception_handler(HTTPException, by_status)
    app.add_exception_handler(Exception, unforeseen)


def _field_problem(error: Any) -> FieldProblem:
    place = [part for part in error["loc"] if part not in ("body", "query", "path", "header")]
    message = str(error["msg"])
    return FieldProblem(field=dotted_path(place) or "body", problem=_shown(message[0].lower() + message[1:]))


def _shown(text: str) -> str:
    return one_line(_FOLDERS.sub("", text))[:_MAXIMUM_TEXT]
