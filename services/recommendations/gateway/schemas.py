"""What may come in over HTTP and what goes out. Strict: no type is guessed, no field is ignored."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from services.recommendations.contracts.candidates import Segment
from services.recommendations.contracts.effort import Effort
from services.recommendations.contracts.empty_slates import EmptyReason
from services.recommendations.contracts.pages import (
    MAXIMUM_PAGES,
    MAXIMUM_SHOWN_ITEMS,
    MAXIMUM_TOKEN_CHARACTERS,
)
from services.recommendations.contracts.rungs import Rung
from streamrec.contracts.conventions import MAXIMUM_ID_CHARACTERS
from streamrec.contracts.events import InteractionKind, interaction_kind

MAXIMUM_K: Final = 500
MAXIMUM_BATCH: Final = 500

_NO_CONTROL_CHARACTERS: Final = r"^[^\x00-\x1f\x7f]+$"

Identifier = Annotated[
    str, Field(min_length=1, max_length=MAXIMUM_ID_CHARACTERS, pattern=_NO_CONTROL_CHARACTERS)
]
"""An id: up to 128 characters, none of them a control character."""

MAXIMUM_REQUEST_BYTES: Final = 64 * 1024
"""A recommendation request."""

_MOST_BYTES_A_CHARACTER: Final = 12
"""Of a character in JSON that is not in the basic plane, and escaped."""

_EVENT_IDS: Final = 4
_OTHER_EVENT_BYTES: Final = 512

MAXIMUM_BATCH_BYTES: Final = MAXIMUM_BATCH * (
    _EVENT_IDS * MAXIMUM_ID_CHARACTERS * _MOST_BYTES_A_CHARACTER + _OTHER_EVENT_BYTES
)
"""A batch of events: as many as are allowed, with the longest ids in the longest way to write them."""

Attribute = Annotated[str, Field(min_length=1, max_length=64, pattern=_NO_CONTROL_CHARACTERS)]
"""One segment attribute."""


_MOMENT: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})", re.ASCII
)


def _moment(value: Any) -> Any:
    # pydantic's own reader takes numbers in quotes for seconds or milliseconds since 1970.
    if not isinstance(value, str):
        return value
    try:
        if _MOMENT.fullmatch(value):
            return datetime.fromisoformat(value)
    except ValueError:
        pass  # a 30th of February
    raise PydanticCustomError("moment", "must be ISO 8601 with an offset, for example 2026-05-01T12:00:00Z")


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
"""A time in ISO 8601 with an offset or Z, and nothing else."""


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
    page_token: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAXIMUM_TOKEN_CHARACTERS,
            description="The `next_page_token` of the page before this one, as it came: no item of the pages "
            "before is shown again.",
        ),
    ] = None
    request_id: Annotated[
        Identifier | None,
        Field(
            description="What the caller calls the request. Kept beside the service's own id: it comes back "
            "as `client_request_id` and in the header `X-Client-Request-Id`, and is logged."
        ),
    ] = None


class RecommendedItem(_Outgoing):
    """One item of the slate."""

    item_id: str
    position: Annotated[int, Field(ge=0, description="0 is the first.")]
    score: Annotated[float, Field(description="Of the last stage that scored; compares within an answer.")]


class RecommendationAnswer(_Outgoing):
    """A slate and how it came about."""

    request_id: Annotated[str, Field(description="Made by the service (UUIDv7); events refer to it.")]
    client_request_id: Annotated[str | None, Field(description="The caller's own id, where it sent one.")]
    user_id: str
    items: list[RecommendedItem]
    rung: Annotated[Rung, Field(description="Step of the fallback ladder.")]
    degraded: Annotated[bool, Field(description="Whether a stage that should have taken part did not.")]
    skipped: Annotated[list[str], Field(description="Those stages.")]
    effort: Annotated[
        Effort, Field(description="What was left out because of the load: `full` where nothing was.")
    ]
    in_full: Annotated[bool, Field(description="False where a stage cut its work off to be in time.")]
    empty_reason: Annotated[
        EmptyReason | None, Field(description="Why there are no items; null where there are.")
    ]
    cold_start: bool
    model_versions: Annotated[dict[str, int], Field(description="Registered version by stage.")]
    price_revision: Annotated[
        int | None,
        Field(description="Of the published exposure prices it was made under; null where none took part."),
    ]
    page: Annotated[int, Field(ge=1, description="Which page of the list it is; 1 is the first.")]
    next_page_token: Annotated[
        str | None,
        Field(
            description="Asks for the next page, at any gateway; opaque. Null where the list ends: fewer "
            f"items than asked for, {MAXIMUM_PAGES} pages, {MAXIMUM_SHOWN_ITEMS} items, or a token of "
            f"{MAXIMUM_TOKEN_CHARACTERS // 1024} KiB."
        ),
    ]
    latency_ms: Annotated[float, Field(description="From arrival to answer.")]
    stages_ms: Annotated[dict[str, float], Field(description="Time waited for each stage.")]


def _our_kind(word: Any) -> Any:
    return (interaction_kind(word) or word) if isinstance(word, str) else word


Kind = Annotated[InteractionKind, BeforeValidator(_our_kind)]
"""What a user did, in the words of `interaction_kind`: imports and HTTP take the same ones."""


class EventIn(_Incoming):
    """One thing that a user did."""

    event_id: Annotated[
        Identifier, Field(description="Chosen by the caller; the same id twice is one event.")
    ]
    user_id: Identifier
    item_id: Identifier
    kind: Kind
    occurred_at: Annotated[Moment, Field(description="ISO 8601 with an offset or Z.")]
    request_id: Annotated[Identifier | None, Field(description="The answer it belongs to.")] = None
    value: Annotated[
        float | None, Field(ge=-1e9, le=1e9, description="Seconds watched, or a rating; finite.")
    ] = None


class EventBatch(_Incoming):
    """Events, in one request. Each is judged by itself: a wrong one does not stop the others."""

    events: Annotated[list[EventIn], Field(min_length=1, max_length=MAXIMUM_BATCH)]


class QuarantinedEvent(_Outgoing):
    """An event that was set aside."""

    index: Annotated[int, Field(ge=0, description="Its place in the request, from 0.")]
    event_id: Annotated[str | None, Field(description="Null where it cannot be read.")]
    reason: str
    detail: Annotated[str, Field(description="What is wrong; names the field of a malformed event.")]


class EventVerdict(StrEnum):
    """What became of one event."""

    ACCEPTED = "accepted"
    """It counts from now on."""
    DUPLICATE = "duplicate"
    """It counts since it was sent first."""
    QUARANTINED = "quarantined"
    """It was set aside; `quarantined` says why."""


class EventAnswer(_Outgoing):
    """What became of the events. None needs to be sent again: all of them are on disk, but for those of users
    who were erased.
    """

    verdicts: Annotated[list[EventVerdict], Field(description="One for each event, in the order sent.")]
    accepted: Annotated[int, Field(description="Events acknowledged, those known before included.")]
    duplicates: Annotated[int, Field(description="Of these, events that were known before.")]
    in_effect: Annotated[
        bool,
        Field(
            description="Whether every later answer to these users, by any gateway, knows the acknowledged "
            "events. False where the feature store is slow or down: they are on disk and count as soon as it "
            "answers, and until then with the gateway that took them."
        ),
    ]
    quarantined: list[QuarantinedEvent]


class Health(_Outgoing):
    """The process is alive."""

    status: Literal["alive"] = "alive"


class Readiness(_Outgoing):
    """The service answers with its models: those that the next request is answered by."""

    status: Literal["ready"] = "ready"
    model_versions: dict[str, int]
    traffic_revision: int | None = None
    catalogue_items: int
    item_revision: Annotated[
        int, Field(description="Of the item log that the catalogue follows; 0 is the imported catalogue.")
    ] = 0
    item_log_problem: Annotated[
        str, Field(description="Why the item log cannot be read, so that the catalogue stays; else empty.")
    ] = ""
    problems: Annotated[
        list[str], Field(description="What replicas cannot load; they answer with what they have.")
    ] = []
