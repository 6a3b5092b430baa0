"""What everything that judges or measures answers: a verdict with its reasons.

A verdict says how it went; what was found (drift, harm, a missed bar) is the code of a reason.
`streamrec.contracts.exit_statuses` says which exit status a verdict gives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.exit_statuses import ExitStatus
from streamrec.contracts.json_documents import (
    NO_CONTROL_CHARACTERS,
    STRICT,
    document_json,
    read_document,
)

SCHEMA_PATTERN: Final = r"^streamrec\.[a-z][a-z0-9_]*\.v[1-9][0-9]*$"
"""Every document's ``schema`` field: the name of its format and the version of that."""

CODE_PATTERN: Final = r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$"
MAXIMUM_CODE_CHARACTERS: Final = 64
MAXIMUM_MESSAGE_CHARACTERS: Final = 1_000
MAXIMUM_REASONS: Final = 1_000

_SCHEMA: Final = re.compile(SCHEMA_PATTERN)
_CODE: Final = re.compile(CODE_PATTERN)
_ONE_LINE: Final = re.compile(NO_CONTROL_CHARACTERS)


class Verdict(StrEnum):
    """How a judgement ends. Only ``passed`` ever promotes anything."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"

    @property
    def exit_status(self) -> ExitStatus:
        """Of a command that ends with this verdict."""
        return _EXIT_STATUSES[self]


_EXIT_STATUSES: Final[Mapping[Verdict, ExitStatus]] = {
    Verdict.PASSED: ExitStatus.PASSED,
    Verdict.FAILED: ExitStatus.FAILED,
    Verdict.INCONCLUSIVE: ExitStatus.INCONCLUSIVE,
    Verdict.ERROR: ExitStatus.UNFORESEEN,
}

_WORST_FIRST: Final = (Verdict.ERROR, Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.PASSED)


def combined(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of several checks together.

    Any error makes an error; else any failed makes failed; else any inconclusive makes inconclusive; else all
    passed. Nothing at all is inconclusive: what was not checked has not passed.
    """
    found = frozenset(verdicts)
    return next((verdict for verdict in _WORST_FIRST if verdict in found), Verdict.INCONCLUSIVE)


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that was found, and where.

    Attributes:
        code: What, for programs: lower-case words joined by underscores, such as ``bar_missed``.
        path: Dotted path of what it is about, in the document or in the input; empty where it is the whole.
        message: In one line of plain words: what was found and, where it helps, what to do.
    """

    __pydantic_config__ = STRICT

    code: Annotated[str, Field(pattern=CODE_PATTERN, max_length=MAXIMUM_CODE_CHARACTERS)]
    path: Annotated[str, Field(max_length=MAXIMUM_MESSAGE_CHARACTERS, pattern=NO_CONTROL_CHARACTERS)]
    message: Annotated[
        str, Field(min_length=1, max_length=MAXIMUM_MESSAGE_CHARACTERS, pattern=NO_CONTROL_CHARACTERS)
    ]

    def __post_init__(self) -> None:
        if len(self.code) > MAXIMUM_CODE_CHARACTERS or not _CODE.fullmatch(self.code):
            raise InvalidInputError("code", "must be lower-case words joined by underscores")
        for name, least in (("path", 0), ("message", 1)):
            text = getattr(self, name)
            if not least <= len(text) <= MAXIMUM_MESSAGE_CHARACTERS or not _ONE_LINE.fullmatch(text):
                raise InvalidInputError(
                    name, f"must be one line of {least} to {MAXIMUM_MESSAGE_CHARACTERS} characters"
                )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return document_json(self)


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields that every result has; a result may have more beside them."""

    __pydantic_config__ = ConfigDict(
        **{**STRICT, "extra": "allow"},
        json_schema_extra={
            "if": {"properties": {"verdict": {"const": "passed"}}},
            "else": {"properties": {"reasons": {"minItems": 1}}},
        },
    )

    schema: Annotated[str, Field(pattern=SCHEMA_PATTERN)]
    verdict: Verdict
    reasons: Annotated[tuple[Reason, ...], Field(max_length=MAXIMUM_REASONS)]


ENVELOPE_FIELDS: Final = ("schema", "verdict", "reasons")


@dataclass(frozen=True, slots=True)
class Result:
    """A judgement, with everything that was measured for it.

    Attributes:
        schema: Format of the whole document, such as ``streamrec.evaluation.v1``.
        verdict: How it ends.
        reasons: Why; at least one unless it passed. A passed one may say what else was found.
        content: The document's other fields, plain JSON values.
    """

    schema: str
    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    content: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if not _SCHEMA.fullmatch(self.schema):
            raise InvalidInputError("schema", "must have the form streamrec.NAME.vN")
        if self.verdict is not Verdict.PASSED and not self.reasons:
            raise InvalidInputError("reasons", f"must say why the verdict is {self.verdict}")
        if len(self.reasons) > MAXIMUM_REASONS:
            raise InvalidInputError("reasons", f"must be at most {MAXIMUM_REASONS}")
        for name in ENVELOPE_FIELDS:
            if name in self.content:
                raise InvalidInputError(name, "is a field of every result and cannot be one of its others")

    @property
    def exit_status(self) -> ExitStatus:
        """Of a command that ends with this result."""
        return self.verdict.exit_status

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: ``schema``, ``verdict``, ``reasons``, then the other fields."""
        reasons = [reason.to_json() for reason in self.reasons]
        return {"schema": self.schema, "verdict": self.verdict.value, "reasons": reasons, **self.content}

    @classmethod
    def from_json(cls, document: Mapping[str, Any], *, schema: str) -> Result:
        """Read what `to_json` wrote.

        Args:
            document: Plain JSON values.
            schema: The format that is expected.

        Raises:
            InvalidInputError: It is of another format, or one of its fields is missing or wrong.
        """
        if not isinstance(document, Mapping):
            raise InvalidInputError("document", "must be a JSON object")
        if document.get("schema") != schema:
            raise InvalidInputError("schema", f"must be {schema!r}")
        known = {name: document[name] for name in ENVELOPE_FIELDS if name in document}
        envelope = read_document(Envelope, known)
        content = {name: value for name, value in document.items() if name not in ENVELOPE_FIELDS}
        return cls(envelope.schema, envelope.verdict, envelope.reasons, content)
