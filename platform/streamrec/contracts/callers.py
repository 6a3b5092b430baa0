"""The callers file: which programs may use a service, by which tokens, and how much each may send.

It holds digests, never a token. A token is 256 random bits: nobody can go through that many, however fast the
digest is, so that it needs none of the slowness and the salt that passwords need.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.event_fields import Digest
from streamrec.contracts.json_documents import STRICT, UtcTime, document_json, read_document

CALLERS_SCHEMA: Final = "streamrec.callers.v1"
MAXIMUM_CALLERS: Final = 1_000
MAXIMUM_TOKENS: Final = 8
"""Of one caller: two while it is rotated, more where its programs are rotated one by one."""

MAXIMUM_NAME_CHARACTERS: Final = 64
CALLER_NAME_PATTERN: Final = "[a-z][a-z0-9]*(-[a-z0-9]+)*"
TOKEN_ID_PATTERN: Final = "[0-9a-f]{12}"  # noqa: S105 - the form of a name, no secret

CallerName = Annotated[str, Field(pattern=f"^{CALLER_NAME_PATTERN}$", max_length=MAXIMUM_NAME_CHARACTERS)]
TokenId = Annotated[str, Field(pattern=f"^{TOKEN_ID_PATTERN}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerLimit:
    """How much one caller may send to one gateway replica.

    Attributes:
        requests_per_s: In the long run.
        burst: At once after a pause.
        maximum_in_flight: Under way at the same moment; None where only the rate is limited.
    """

    __pydantic_config__ = STRICT

    requests_per_s: Annotated[float, Field(ge=0.001, le=1_000_000.0)]
    burst: Annotated[int, Field(ge=1, le=1_000_000)]
    maximum_in_flight: Annotated[int, Field(ge=1, le=1_000_000)] | None


@dataclass(frozen=True, slots=True)
class CallerToken:
    """A token by which a caller is known; the token itself is written nowhere.

    Attributes:
        token_id: Names it; part of the token, and no secret.
        sha256: Digest of the whole token.
        created_at: When it was made.
        expires_at: From when on it is refused.
    """

    __pydantic_config__ = STRICT

    token_id: TokenId
    sha256: Digest
    created_at: UtcTime
    expires_at: UtcTime


@dataclass(frozen=True, slots=True)
class Caller:
    """A program, or a team's programs, that may use the service.

    Attributes:
        name: Stands in metrics and logs.
        tokens: Any of them will do, so that one can be rotated while another is in use.
        limit: What it may send; None where the default holds.
    """

    __pydantic_config__ = STRICT

    name: CallerName
    tokens: Annotated[tuple[CallerToken, ...], Field(max_length=MAXIMUM_TOKENS)]
    limit: CallerLimit | None


@dataclass(frozen=True, slots=True)
class Callers:
    """The whole file.

    Attributes:
        schema: The format.
        default_limit: Of callers without a limit of their own; None limits none of those.
        callers: Whoever is not among them is refused.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.callers.v1"] = field(default=CALLERS_SCHEMA, kw_only=True)
    default_limit: CallerLimit | None
    callers: Annotated[tuple[Caller, ...], Field(max_length=MAXIMUM_CALLERS)]

    def __post_init__(self) -> None:
        tokens = [token for caller in self.callers for token in caller.tokens]
        _check_unique("name", (caller.name for caller in self.callers))
        _check_unique("token_id", (token.token_id for token in tokens))
        _check_unique("sha256", (token.sha256 for token in tokens))

    def named(self, name: str) -> Caller | None:
        """The caller of that name."""
        return next((caller for caller in self.callers if caller.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        return document_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Callers:
        """Read a document.

        Raises:
            InvalidInputError: A field is missing, unknown or wrong; names it.
        """
        return read_document(cls, document)


def _check_unique(name: str, values: Iterable[str]) -> None:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise InvalidInputError("callers", f"hold the {name} {repeated[0]!r} twice")
