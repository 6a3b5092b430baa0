"""What may come in over HTTP and what goes out. Strict: no type is guessed, no field is ignored."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from services.recommendations.contracts.candidates import Segment
from services.recommendations.contracts.rungs import Rung
from streamrec.contracts.events import InteractionKind

MAXIMUM_K: Final = 500
MAXIMUM_BATCH: Final = 500
MAXIMUM_ID_CHARACTERS: Final = 128

_NO_CONTROL_CHARACTERS: Final = r"^[^\x00-\x1f\x7f]+$"

Identifier = Annotated[
    str, Field(min_length=1, max_length=MAXIMUM_ID_CHARACTERS, pattern=_NO_CONTROL_CHARACTERS)
]
"""An id: up to 128 characters, none of them a control character."""

Attribute = Annotated[str, Field(min_length=1, max_length=64, pattern=_NO_CONTROL_CHARACTERS)]
"""One segment attribute."""


class _Incoming(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _Outgoing(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class UserContext(_Incoming):
    """What the caller knows of a user. Used where the feature store has no value of its own."""

    country: Attribute | None = None
    language: Attribute | None = None
    age_band: Attribute | None = None
    signup_channel: Attribute | None = None

    def as_segment(self) -> Segment:
        """The same, with ``unknown`` for what is missing."""
        return Segment(**self.model_dump(exclude_none=True))


class RecommendationRequest(_Incoming):
    """Asks for a slate."""

    user_id: Identifier
    k: Annotated[int, Field(ge=1, le=MAXIMUM_K, description="Length of the slate.")] = 10
    context: UserContext | None = None
    request_id: Annotated[
        Identifier | None,
        Field(description="Comes back in the answer and is logged; chosen by the service where missing."),
    ] = None


class RecommendedItem(_Outgoing):
    """One item of the slate."""

    item_id: str
    position: Annotated[int, Field(ge=0, description="0 is the first.")]
    score: Annotated[float, Field(description="Of the last stage that scored; compares within an answer.")]


class RecommendationAnswer(_Outgoing):
    """A slate and how it came about."""

    request_id: str
    user_id: str
    items: list[RecommendedItem]
    rung: Annotated[Rung, Field(description="Step of the fallback ladder.")]
    degraded: Annotated[bool, Field(description="Whether a stage that should have taken part did not.")]
    skipped: Annotated[list[str], Field(description="Those stages.")]
    cold_start: bool
    model_versions: Annotated[dict[str, int], Field(description="Registered version by stage.")]
    price_revision: Annotated[
        int | None,
        Field(description="Of the published exposure prices it was made under; null where none took part."),
    ]
    latency_ms: Annotated[float, Field(description="From arrival to answer.")]
    stages_ms: Annotated[dict[str, float], Field(description="Time waited for each stage.")]


class EventIn(_Incoming):
    """One thing that a user did."""

    event_id: Annotated[
        Identifier, Field(description="Chosen by the caller; the same id twice is one event.")
    ]
    user_id: Identifier
    item_id: Identifier
    kind: InteractionKind
    occurred_at: Annotated[AwareDatetime, Field(description="ISO 8601 with an offset or Z.")]
    request_id: Annotated[Identifier | None, Field(description="The answer it belongs to.")] = None
    value: Annotated[
        float | None, Field(ge=-1e9, le=1e9, description="Seconds watched, or a rating; finite.")
    ] = None


class EventBatch(_Incoming):
    """Events, in one request."""

    events: Annotated[list[EventIn], Field(min_length=1, max_length=MAXIMUM_BATCH)]


class QuarantinedEvent(_Outgoing):
    """An event that was set aside."""

    index: Annotated[int, Field(ge=0, description="Its place in the request, from 0.")]
    event_id: str
    reason: str
    detail: str


class EventAnswer(_Outgoing):
    """What became of the events. All of them are on disk: none needs to be sent again."""

    accepted: Annotated[int, Field(description="Events acknowledged, those known before included.")]
    duplicates: Annotated[int, Field(description="Of these, events that were known before.")]
    quarantined: list[QuarantinedEvent]


class Health(_Outgoing):
    """The process is alive."""

    status: Literal["alive"] = "alive"


class Readiness(_Outgoing):
    """The service answers with its models."""

    status: Literal["ready"] = "ready"
    model_versions: dict[str, int]
    catalogue_items: int
    item_revision: Annotated[
        int, Field(description="Of the item log that the catalogue follows; 0 is the imported catalogue.")
    ] = 0
