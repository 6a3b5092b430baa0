"""Which verdicts count no longer: a small signed document that replicas follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.json_documents import STRICT, document_json, read_document
from streamrec.contracts.ledger_entry import Digest

REVOKED_VERDICTS_SCHEMA: Final = "streamrec.revoked_verdicts.v1"
MAXIMUM_REVOKED: Final = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedVerdicts:
    """What is signed. It is derived from the ledger, whole, whenever something is revoked.

    Attributes:
        schema: The format.
        verdicts: SHA-256 of the canonical JSON of each verdict, as it was before it was revoked; sorted, each
            once.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.revoked_verdicts.v1"] = field(default=REVOKED_VERDICTS_SCHEMA)
    verdicts: Annotated[tuple[Digest, ...], Field(max_length=MAXIMUM_REVOKED)] = ()

    def __post_init__(self) -> None:
        if any(before >= after for before, after in pairwise(self.verdicts)):
            raise InvalidInputError("verdicts", "must be sorted, and name each verdict once")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return document_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RevokedVerdicts:
        """Read what `to_json` wrote.

        Raises:
            InvalidInputError: A field is missing, unknown or wrong, or the verdicts are not sorted.
        """
        return read_document(cls, document)
