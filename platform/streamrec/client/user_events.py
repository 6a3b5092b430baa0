"""What users did, as a caller sends it."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from streamrec.contracts.errors import InvalidInputError


def _new_id() -> str:
    return uuid.uuid4().hex


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class UserEvent:
    """One thing that a user did.

    The id is made with the event: however often the same object is sent, by a retry or by its owner, it
    counts once.

    Attributes:
        user_id: Who.
        item_id: With which item.
        kind: What, for example ``click`` or ``play``.
        request_id: Of the recommendation it belongs to.
        value: Seconds watched, or a rating.
        occurred_at: When; with a time zone.
        event_id: Which event it is.
    """

    user_id: str
    item_id: str
    kind: str
    request_id: str | None = None
    value: float | None = None
    occurred_at: datetime = field(default_factory=_now)
    event_id: str = field(default_factory=_new_id)

    def __post_init__(self) -> None:
        if self.occurred_at.utcoffset() is None:
            raise InvalidInputError("occurred_at", "must have a time zone")
        if self.value is not None and not math.isfinite(self.value):
            raise InvalidInputError("value", "must be finite")

    def to_json(self) -> dict[str, Any]:
        """The event as the service reads it."""
        document: dict[str, Any] = {
            "event_id": self.event_id,
            "user_id": self.user_id,
            "item_id": self.item_id,
            "kind": self.kind,
            "occurred_at": self.occurred_at.isoformat(),
        }
        if self.request_id is not None:
            document["request_id"] = self.request_id
        if self.value is not None:
            document["value"] = self.value
        return document
