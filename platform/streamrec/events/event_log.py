"""The ports of the event log, and its whole content at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from streamrec.contracts.conventions import MAXIMUM_CLOCK_SKEW
from streamrec.contracts.events import Impression, Outcome
from streamrec.events.records import QuarantinedEvent, QuarantineReason, Record, to_json

EARLIEST_EVENT: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""No client existed before: an older date is a broken clock."""


class EventWriter(Protocol):
    """Takes records. Blocking: call it from a worker thread where an event loop must not wait."""

    def append(self, records: Sequence[Record], *, durable: bool = True) -> None:
        """Write all records or none.

        Args:
            records: What to write.
            durable: Return only when they survive a power cut. Otherwise they survive the death of this
                process, and reach the disk with the next durable append.

        Raises:
            InvalidInputError: A record breaks the rules of its type; none was written.
            DependencyError: The disk is full or fails; none is acknowledged.
        """
        ...


class EventReader(Protocol):
    """Reads everything that was written."""

    def snapshot(self) -> EventSnapshot:
        """Return every event once, as of now.

        Raises:
            DependencyError: The log cannot be read.
            ArtifactError: A file of the log is damaged beyond its own frame.
        """
        ...


@dataclass(frozen=True)
class EventSnapshot:
    """Every event once. Equal for equal sets of records, whatever their order and repetition.

    Attributes:
        impressions: Sorted by time and request id; one for each request id.
        outcomes: Sorted by time and event id; one for each event id, none with an impossible time.
        quarantined: Events set aside, by a writer or here; sorted by time.
    """

    impressions: tuple[Impression, ...]
    outcomes: tuple[Outcome, ...]
    quarantined: tuple[QuarantinedEvent, ...]


def time_problem(occurred_at: datetime, received_at: datetime) -> QuarantineReason | None:
    """Return why an event with these times must be set aside, or None.

    One event dated in the future would block every later one of its user in a feature store.
    """
    if occurred_at - received_at > MAXIMUM_CLOCK_SKEW:
        return QuarantineReason.FUTURE_DATED
    if occurred_at < EARLIEST_EVENT:
        return QuarantineReason.IMPOSSIBLE_DATE
    return None


def assemble(records: Iterable[Record]) -> EventSnapshot:
    """Deduplicate, set impossible times aside, and sort.

    Of several records with one id the earliest by the platform's clock stays, ties broken by content:
    a choice that no order of arrival can change.
    """
    impressions: dict[str, Impression] = {}
    outcomes: dict[str, Outcome] = {}
    quarantined: dict[str, QuarantinedEvent] = {}
    for record in records:
        if isinstance(record, Impression):
            known = impressions.get(record.request_id)
            if known is None or _is_earlier(record, record.served_at, known, known.served_at):
                impressions[record.request_id] = record
            continue
        if isinstance(record, Outcome):
            reason = time_problem(record.occurred_at, record.received_at)
            if reason is None:
                first = outcomes.get(record.event_id)
                if first is None or _is_earlier(record, record.received_at, first, first.received_at):
                    outcomes[record.event_id] = record
                continue
            record = QuarantinedEvent.of(record, reason)
        # A corrupt line has no id: its payload tells it from others.
        identity = f"{record.reason}\x1f{record.event_id if record.event_id is not None else record.payload}"
        other = quarantined.get(identity)
        if other is None or _is_earlier(record, record.received_at, other, other.received_at):
            quarantined[identity] = record
    return EventSnapshot(
        impressions=tuple(sorted(impressions.values(), key=lambda kept: (kept.served_at, kept.request_id))),
        outcomes=tuple(sorted(outcomes.values(), key=lambda kept: (kept.occurred_at, kept.event_id))),
        quarantined=tuple(
            sorted(quarantined.values(), key=lambda kept: (kept.received_at, kept.reason, kept.payload))
        ),
    )


def _is_earlier(record: Record, moment: datetime, known: Record, known_moment: datetime) -> bool:
    if moment != known_moment:
        return moment < known_moment
    return record != known and to_json(record) < to_json(known)
