"""A batch of events as it came in: each event is valid by itself, or set aside by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from services.recommendations.gateway.edge.json_bodies import RepeatingObject, to_model, to_text
from services.recommendations.gateway.edge.problems import BODY, words_of
from services.recommendations.gateway.schemas import MAXIMUM_BATCH, EventIn
from streamrec.contracts.conventions import MAXIMUM_ID_CHARACTERS
from streamrec.contracts.errors import InvalidInputError
from streamrec.events.records import MAXIMUM_PAYLOAD_CHARACTERS

_EVENTS: Final = "events"
_EVENT: Final = "event"


@dataclass(frozen=True, slots=True)
class MalformedEvent:
    """An event that cannot be understood.

    Attributes:
        event_id: The client's, where it can be read.
        user_id: Whose event it is, where it can be read.
        problem: Which field is wrong, and how.
        payload: As it came, in ASCII; a very long one loses its end.
    """

    event_id: str | None
    user_id: str | None
    problem: str
    payload: str


def events_of(document: Any) -> Sequence[EventIn | MalformedEvent]:
    """Return the events of a batch, in order.

    Raises:
        InvalidInputError: The envelope is wrong: no object, another field beside ``events``, or not 1 to 500
            of them.
    """
    if not isinstance(document, dict):
        raise InvalidInputError(BODY, f"must be an object with the field '{_EVENTS}'")
    for name in document:
        if name != _EVENTS:
            raise InvalidInputError(name[:MAXIMUM_ID_CHARACTERS], f"is not known; send '{_EVENTS}' alone")
    if isinstance(document, RepeatingObject) and document.field == _EVENTS:
        raise InvalidInputError(_EVENTS, "stands there twice")
    events = document.get(_EVENTS)
    if not isinstance(events, list) or not 1 <= len(events) <= MAXIMUM_BATCH:
        raise InvalidInputError(_EVENTS, f"must be a list of 1 to {MAXIMUM_BATCH} events")
    return [_event_of(event) for event in events]


def _event_of(document: Any) -> EventIn | MalformedEvent:
    try:
        return to_model(document, EventIn)
    except ValidationError as error:
        return _malformed(document, words_of(error, _EVENT))
    except InvalidInputError as error:
        return _malformed(document, str(error))


def _malformed(document: Any, problem: str) -> MalformedEvent:
    fields = document if isinstance(document, Mapping) else {}
    return MalformedEvent(
        event_id=_readable(fields.get("event_id")),
        user_id=_readable(fields.get("user_id")),
        problem=problem,
        payload=to_text(document)[:MAXIMUM_PAYLOAD_CHARACTERS],
    )


def _readable(value: Any) -> str | None:
    """Return an id that can be written down; one with half of a surrogate pair cannot."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAXIMUM_ID_CHARACTERS:
        return None
    return None if any("\ud800" <= character <= "\udfff" for character in value) else value
