"""What became of the events of the last minutes, so that one that is sent again gets its first verdict."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from services.recommendations.gateway.schemas import EventIn
from streamrec.events.records import QuarantineReason

EventIdentity: TypeAlias = tuple[str, str]
"""The user and the id that the user's client gave the event: ids belong to users."""


def identity_of(event: EventIn) -> EventIdentity:
    """Return what tells the event from all others."""
    return event.user_id, event.event_id


def content_of(event: EventIn) -> bytes:
    """Return a digest that is the same for the same event and for no other."""
    return hashlib.sha256(event.model_dump_json().encode()).digest()[:16]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of an event.

    Attributes:
        content: Digest of the event that got the verdict.
        reason: Why it was set aside; None where it counts.
    """

    content: bytes
    reason: QuarantineReason | None


class RecentEvents:
    """The verdicts on the last ``maximum`` events. For one event loop.

    This is the cheap first line: what has fallen out, or was seen by another process, is caught by the
    event log's reader, which deduplicates everything.
    """

    def __init__(self, maximum: int) -> None:
        if maximum < 1:
            raise ValueError("there must be room for one event")
        self._maximum = maximum
        self._taken: OrderedDict[EventIdentity, Taken] = OrderedDict()

    def verdict_on(self, event: EventIn) -> Taken | None:
        """Return the first verdict on the event, or None where it has to be looked at.

        An event that counts stays as it was sent first. One that was set aside may be corrected: the same
        id with another content is looked at anew. So is one on an item that was unknown, which may be known
        by now.
        """
        taken = self._taken.get(identity_of(event))
        if taken is None or taken.reason is None:
            return taken
        if taken.reason is QuarantineReason.UNKNOWN_ITEM or taken.content != content_of(event):
            return None
        return taken

    def is_set_aside(self, event: EventIn) -> bool:
        """Whether exactly this event is among those that were set aside."""
        taken = self._taken.get(identity_of(event))
        return taken is not None and taken.reason is not None and taken.content == content_of(event)

    def forget(self, is_forgotten: Callable[[str], bool]) -> None:
        """Forget what is known of the events of some users."""
        for identity in [identity for identity in self._taken if is_forgotten(identity[0])]:
            del self._taken[identity]

    def remember(self, event: EventIn, reason: QuarantineReason | None) -> None:
        """Remember the verdict, and forget the oldest one if there is no room."""
        identity = identity_of(event)
        self._taken[identity] = Taken(content_of(event), reason)
        self._taken.move_to_end(identity)
        if len(self._taken) > self._maximum:
            self._taken.popitem(last=False)
