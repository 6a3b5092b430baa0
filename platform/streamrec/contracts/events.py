"""What the platform writes down about a served answer and about what the user did with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType


class Rung(StrEnum):
    """The step of the fallback ladder that an answer came from, best first."""

    RANKED = "ranked"
    RETRIEVAL_ORDER = "retrieval_order"
    POPULAR_IN_LANGUAGE = "popular_in_language"
    STATIC = "static"


class EventKind(StrEnum):
    """What a user did."""

    CLICK = "click"
    PLAY = "play"
    COMPLETE = "complete"
    LIKE = "like"
    DISLIKE = "dislike"
    SKIP = "skip"

    @property
    def positive(self) -> bool:
        """Whether the event is evidence that the user wants more of the kind."""
        return self not in (EventKind.DISLIKE, EventKind.SKIP)


@dataclass(frozen=True, slots=True)
class Impression:
    """One served slate: enough to evaluate another policy offline.

    Attributes:
        request_id: Identifies the answer; outcomes refer to it.
        user_id: Who was served.
        served_at: When, UTC.
        item_ids: The slate, first position first.
        scores: The score that ordered each item, same length.
        propensities: Probability that the logging policy put each item where it stands, same length;
            1.0 where the policy is deterministic.
        model_versions: Registered version by stage.
        rung: The step of the ladder the answer came from.
        cold_start: Whether the cold-start model had at least half of the weight.
        latency_ms: Time from the request's arrival to the answer.
        variants: Experiment variant by experiment.
    """

    request_id: str
    user_id: str
    served_at: datetime
    item_ids: tuple[str, ...]
    scores: tuple[float, ...]
    propensities: tuple[float, ...]
    model_versions: Mapping[str, int]
    rung: Rung
    cold_start: bool
    latency_ms: float
    variants: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Outcome:
    """One thing a user did.

    Attributes:
        event_id: Chosen by the client; the same id twice is one event.
        user_id: Who.
        item_id: With what.
        kind: What.
        occurred_at: When, by the client's clock, UTC.
        received_at: When the platform acknowledged it, UTC.
        request_id: The answer it belongs to, if the client says so.
        value: Seconds watched or a rating, finite; None where the kind has none.
    """

    event_id: str
    user_id: str
    item_id: str
    kind: EventKind
    occurred_at: datetime
    received_at: datetime
    request_id: str | None = None
    value: float | None = None
