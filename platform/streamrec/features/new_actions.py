"""What users did, out of the event log: what is to be added to rows that were computed before."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.events.event_log import time_problem
from streamrec.events.records import Record, RecordKind
from streamrec.events.time_range import ALL_TIME, TimeRange
from streamrec.features.user_actions import UserAction

LOG_DELAY: Final = timedelta(minutes=5)
"""Longest time from the moment that an event carries as received to the moment when it can be read."""

_KINDS: Final = frozenset(kind.value for kind in InteractionKind)


class RecordReader(Protocol):
    """The reading end of an event log, as `streamrec.events.reader.FileEventReader` has it."""

    def records(self, window: TimeRange = ..., kinds: Collection[RecordKind] = ...) -> Iterable[Record]:
        """Return every record of a range as written."""
        ...


@dataclass(frozen=True)
class NewActions:
    """What users do while features are materialised, and since.

    Attributes:
        since: Everything that was acknowledged before is in the data that is materialised.
        read: Returns what was acknowledged at or after a time, by user; more does no harm.
    """

    since: datetime
    read: Callable[[datetime], Mapping[str, Sequence[UserAction]]]


def actions_by_user(outcomes: Iterable[Outcome]) -> dict[str, list[UserAction]]:
    """Return what each user did with items; outcomes of other kinds than `InteractionKind`'s are left out."""
    by_user: dict[str, list[UserAction]] = {}
    for outcome in outcomes:
        if outcome.kind in _KINDS and outcome.item_id is not None:
            action = UserAction(outcome.item_id, InteractionKind(outcome.kind), outcome.occurred_at)
            by_user.setdefault(outcome.unit, []).append(action)
    return by_user


def read_actions(reader: RecordReader, since: datetime | None) -> dict[str, list[UserAction]]:
    """Read what users did that was acknowledged at or after ``since``, and somewhat before; all where None.

    Raises:
        DependencyError: The log cannot be read.
        ArtifactError: A file of the log is damaged.
    """
    window = ALL_TIME if since is None else TimeRange(since - LOG_DELAY)
    records = reader.records(window, (RecordKind.OUTCOME,))
    return actions_by_user(
        record
        for record in records
        if isinstance(record, Outcome) and time_problem(record.occurred_at, record.received_at) is None
    )
