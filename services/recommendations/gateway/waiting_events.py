"""Events on items that are not known yet: on disk and set aside, and waiting to count."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable

from pydantic import ValidationError

from services.recommendations.gateway.recent_events import EventIdentity, identity_of
from services.recommendations.gateway.schemas import EventIn
from streamrec.events.records import QuarantinedEvent

_LOG = logging.getLogger(__name__)


class WaitingEvents:
    """The newest ``maximum`` events that wait for their item. For one event loop.

    What falls out stays set aside in the event log, and waits again from the next start on.
    """

    def __init__(self, maximum: int) -> None:
        if maximum < 1:
            raise ValueError("there must be room for one event")
        self._maximum = maximum
        self._events: OrderedDict[EventIdentity, EventIn] = OrderedDict()

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: EventIn) -> None:
        """Let an event wait, in the place of an earlier one with its identity."""
        identity = identity_of(event)
        self._events[identity] = event
        self._events.move_to_end(identity)
        if len(self._events) > self._maximum:
            self._events.popitem(last=False)

    def add_set_aside(self, records: Iterable[QuarantinedEvent]) -> None:
        """Let events wait again that the log holds, in order."""
        for record in records:
            try:
                self.add(EventIn.model_validate_json(record.payload))
            except ValidationError:
                # Another spoke's, or of a release that took what this one does not.
                _LOG.warning("an event on an unknown item cannot be read again: %s", record.event_id)

    def discard(self, identity: EventIdentity) -> None:
        """Forget an event, because one with its identity counts."""
        self._events.pop(identity, None)

    def forget(self, is_erased: Callable[[str], bool]) -> None:
        """Forget the events of users who were erased."""
        for identity in [key for key, event in self._events.items() if is_erased(event.user_id)]:
            del self._events[identity]

    def on_known(self, known_items: Container[str], maximum: int) -> list[EventIn]:
        """The oldest events whose item is known by now, at most ``maximum``; they go on waiting."""
        found = (event for event in self._events.values() if event.item_id in known_items)
        return [event for event, _ in zip(found, range(maximum), strict=False)]
