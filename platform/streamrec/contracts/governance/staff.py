"""The access file: members of staff, their roles and slots, and the digests of their tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from streamrec.contracts.callers import MAXIMUM_TOKENS, CallerName, CallerToken
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.json_documents import STRICT, document_json, read_document
from streamrec.contracts.ledger_entry import ActorRole

STAFF_SCHEMA: Final = "streamrec.staff.v1"
MAXIMUM_MEMBERS: Final = 1_000

SLOTS_PATTERN: Final = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*\.(\*|[a-z][a-z0-9_-]*)$"
"""A slot ``TEAM.NAME``, or ``TEAM.*`` for all of a team."""


@dataclass(frozen=True, slots=True)
class Member:
    """A person, or a program that acts for a team.

    Attributes:
        name: Stands in the ledger as the actor.
        roles: What they may do.
        slots: Where the role ``spoke`` counts: ``TEAM.NAME`` or ``TEAM.*``.
        tokens: Any of them will do, so that one can be rotated while another is in use.
    """

    __pydantic_config__ = STRICT

    name: CallerName
    roles: Annotated[tuple[ActorRole, ...], Field(min_length=1, max_length=len(ActorRole))]
    slots: Annotated[
        tuple[Annotated[str, Field(pattern=SLOTS_PATTERN, max_length=128)], ...], Field(max_length=100)
    ]
    tokens: Annotated[tuple[CallerToken, ...], Field(max_length=MAXIMUM_TOKENS)]


@dataclass(frozen=True, slots=True)
class Staff:
    """The whole file.

    Attributes:
        schema: The format.
        members: Whoever is not among them decides nothing.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.staff.v1"] = field(default=STAFF_SCHEMA, kw_only=True)
    members: Annotated[tuple[Member, ...], Field(max_length=MAXIMUM_MEMBERS)]

    def __post_init__(self) -> None:
        for what, values in (
            ("name", [member.name for member in self.members]),
            ("token_id", [token.token_id for member in self.members for token in member.tokens]),
            ("sha256", [token.sha256 for member in self.members for token in member.tokens]),
        ):
            if len(set(values)) < len(values):
                raise InvalidInputError("members", f"hold the same {what} twice")

    def named(self, name: str) -> Member | None:
        """The member of that name."""
        return next((member for member in self.members if member.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        return document_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Staff:
        """Read a document.

        Raises:
            InvalidInputError: A field is missing, unknown or wrong; names it.
        """
        return read_document(cls, document)
