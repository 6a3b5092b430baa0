"""Whom a record is about, as far as it says so: for erasure. Pure."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from streamrec.contracts.events import Label
from streamrec.events.records import QuarantinedEvent, Record

PERSON_FIELDS: Final = ("unit", "user_id", "subject")
"""Fields that may name a person: in records of today, in those of version 1, and of labels."""

_NAMED: Final = re.compile(rf'"(?:{"|".join(PERSON_FIELDS)})"\s*:\s*("(?:[^"\\]|\\.)*")')


def persons_of(record: Record) -> frozenset[str]:
    """Return the ids of all units that the record may be about.

    An event that was set aside is looked through as text: it may be damaged, and is kept as it came.
    """
    if isinstance(record, QuarantinedEvent):
        named = frozenset() if record.unit is None else frozenset((record.unit,))
        return named | frozenset(named_in(record.payload))
    return frozenset((record.subject if isinstance(record, Label) else record.unit,))


def named_in(text: str) -> list[str]:
    """Return what the fields `PERSON_FIELDS` of JSON hold, wherever it stands in a text, in its order."""
    found = [_text(quoted) for quoted in _NAMED.findall(text)]
    # JSON that is quoted inside JSON, as in the payload of a line that was set aside itself.
    if '\\"' in text:
        found += [_text(quoted) for quoted in _NAMED.findall(text.replace('\\"', '"'))]
    return [name for name in found if isinstance(name, str)]


def _text(quoted: str) -> Any:
    try:
        return json.loads(quoted)
    except ValueError:
        return quoted.strip('"')
