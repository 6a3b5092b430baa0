"""Events that were set aside because nobody knew their item, and what waits of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from streamrec.events.event_log import EventReader
from streamrec.events.records import QuarantinedEvent, QuarantineReason, RecordKind
from streamrec.events.time_range import TimeRange

MAXIMUM_WAITING: Final = 50_000
"""Of more the newest wait; the others stay in the log."""

LONGEST_WAIT: Final = timedelta(days=30)
"""An item is announced days before it is published, not months."""


def events_on_unknown_items(reader: EventReader, now: datetime) -> tuple[QuarantinedEvent, ...]:
    """The events set aside for an unknown item, oldest first, without those that count by now.

    An event counts once its item is known: it is then in the log a second time, as an outcome with the same
    unit and id.

    Args:
        reader: Of the log. Read are the events set aside within `LONGEST_WAIT`, and of outcomes two columns.
        now: The time, UTC.

    Raises:
        DependencyError: The log cannot be read.
        ArtifactError: A file of the log is damaged.
    """
    recently = TimeRange(now - LONGEST_WAIT)
    set_aside = [
        record
        for record in reader.snapshot(recently, kinds=(RecordKind.QUARANTINED,)).quarantined
        if record.reason is QuarantineReason.UNKNOWN_ITEM
    ]
    if not set_aside:
        return ()
    since = TimeRange(set_aside[0].received_at)
    outcomes = reader.table(RecordKind.OUTCOME, ("unit", "event_id"), since)
    counting = set(zip(outcomes["unit"].to_pylist(), outcomes["event_id"].to_pylist(), strict=True))
    waiting = [record for record in set_aside if (record.unit, record.event_id) not in counting]
    return tuple(waiting[-MAXIMUM_WAITING:])
