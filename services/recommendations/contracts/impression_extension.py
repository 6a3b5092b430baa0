"""What this spoke adds to an impression, and how it is written and read.

The event log keeps it as it is and does not look inside, so it is checked here, where it means something.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from services.recommendations.contracts.effort import Effort
from services.recommendations.contracts.rungs import Rung
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.slots import ServingRole

EXTENSION_SCHEMA: Final = "recommendations.impression.v1"

_STRICT: Final = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class ImpressionExtension:
    """How a slate came about.

    Attributes:
        rung: The step of the fallback ladder.
        cold_start: Whether the cold-start model had at least half of the weight.
        latency_ms: Time from the request's arrival to the answer.
        skipped: Stages that should have taken part and did not, in order; empty in impressions of the log's
            version 1, which did not say.
        item_revision: Of the item log, as the catalogue was that the request was answered from; 0 is the
            imported catalogue alone.
        stage_item_revisions: The same by stage, of the stages that took part: each follows the log by itself.
        in_full: Whether no stage cut its answer off to be in time.
        page: Which page of the user's list it is; 1 is the first. What the pages before showed is part of the
            state that was drawn for.
        effort: How much was done for the request. It depends on the load alone: given it, a slate is as
            likely as at any other time.
        roles: By stage, in which role its version answered, where that was not the champion's.
    """

    rung: Rung
    cold_start: bool
    latency_ms: float
    skipped: tuple[str, ...] = ()
    item_revision: int = 0
    stage_item_revisions: Mapping[str, int] = field(default_factory=dict)
    in_full: bool = True
    page: int = 1
    effort: Effort = Effort.FULL
    roles: Mapping[str, ServingRole] = field(default_factory=dict)

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as `streamrec.contracts.events.Impression.extension`."""
        return {
            "schema": EXTENSION_SCHEMA,
            "rung": self.rung.value,
            "cold_start": self.cold_start,
            "latency_ms": self.latency_ms,
            "skipped": list(self.skipped),
            "item_revision": self.item_revision,
            "stage_item_revisions": dict(self.stage_item_revisions),
            "in_full": self.in_full,
            "page": self.page,
            "effort": self.effort.value,
            "roles": {stage: role.value for stage, role in self.roles.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, JsonValue] | None) -> Self:
        """Read the extension of an impression that this spoke wrote, today or in version 1 of the log.

        Raises:
            InvalidInputError: There is none, it is another spoke's, or a field is missing, unknown or wrong.
        """
        if document is None:
            raise InvalidInputError("extension", "is missing: another spoke's impression")
        try:
            read = _READER.validate_json(json.dumps(dict(document)))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            path = ".".join(str(part) for part in ("extension", *first["loc"][1:]))
            raise InvalidInputError(path.encode("unicode_escape").decode(), first["msg"]) from error
        if not isinstance(read, _Document):
            return cls(read.rung, read.cold_start, read.latency_ms)
        return cls(
            read.rung,
            read.cold_start,
            read.latency_ms,
            read.skipped,
            read.item_revision,
            read.stage_item_revisions,
            read.in_full,
            read.page,
            read.effort,
            read.roles,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    __pydantic_config__ = _STRICT

    schema: Literal["recommendations.impression.v1"]
    rung: Rung
    cold_start: bool
    latency_ms: Annotated[float, Field(ge=0.0)]
    skipped: tuple[str, ...]
    # Impressions of earlier releases do not say: their catalogue was the imported one.
    item_revision: Annotated[int, Field(ge=0)] = 0
    stage_item_revisions: Mapping[str, Annotated[int, Field(ge=0)]] = field(default_factory=dict)
    in_full: bool = True
    page: Annotated[int, Field(ge=1)] = 1
    effort: Effort = Effort.FULL
    roles: Mapping[str, ServingRole] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _DocumentOfLogVersion1:
    """Of impressions that were written before there were extensions: `streamrec.events.version_1`."""

    __pydantic_config__ = _STRICT

    schema: Literal["streamrec.impression.v1"]
    rung: Rung
    cold_start: bool
    latency_ms: float
    propensities: tuple[float, ...] = ()


_READER: Final = TypeAdapter[_Document | _DocumentOfLogVersion1](
    Annotated[_Document | _DocumentOfLogVersion1, Field(discriminator="schema")]
)
