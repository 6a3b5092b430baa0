"""The ports of the event log, and its whole content at one moment."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from streamrec.contracts.conventions import MAXIMUM_CLOCK_SKEW
from streamrec.contracts.events import Exposure, Impression, Label, Outcome, Prediction
from streamrec.events.records import (
    QuarantinedEvent,
    QuarantineReason,
    Record,
    RecordKind,
    moment_of,
    ordering_text,
)
from streamrec.events.time_range import ALL_TIME, ALL_UNITS, TimeRange, UnitRange

if TYPE_CHECKING:
    import pyarrow as pa

ALL_KINDS: Final = tuple(RecordKind)

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
    """Reads what was written, as of now."""

    def snapshot(
        self, window: TimeRange = ALL_TIME, kinds: Collection[RecordKind] = ALL_KINDS
    ) -> EventSnapshot:
        """Return every event of a range once, as objects. For many of them `table` is far cheaper.

        Args:
            window: By the platform's clock. An event that was sent again belongs to the moment when it came
                first, if that was at most a day before the window (`repetitions.REPETITION_HORIZON`).
            kinds: Which records are read; events set aside for their time stand in those of their own kind.

        Raises:
            DependencyError: The log cannot be read.
            ArtifactError: A file of the log is damaged beyond its own frame.
        """
        ...

    def table(
        self,
        kind: RecordKind,
        columns: Sequence[str] | None = None,
        window: TimeRange = ALL_TIME,
        units: UnitRange = ALL_UNITS,
    ) -> pa.Table:
        """Return the events of one kind, every event once, one row each, in no particular order.

        Args:
            kind: Which records.
            columns: Names out of `arrow_tables.SCHEMAS`, in the order wanted; all where None.
            window: As in `snapshot`.
            units: Only events of these, of labels those about these; what was set aside may have no unit.

        Raises:
            InvalidInputError: There is no such column, or a range of units of what was set aside.
            DependencyError: The log cannot be read.
            ArtifactError: A file of the log is damaged beyond its own frame.
        """
        ...

    def extent(self) -> LogExtent:
        """Return how much there is, without reading what was compacted.

        Raises:
            DependencyError: The log cannot be read.
            ArtifactError: Its state is damaged.
        """
        ...


@dataclass(frozen=True)
class LogExtent:
    """How much a log holds: whoever keeps what was computed from it sees here whether it is still true.

    Attributes:
        records: Records as written, repetitions included, by kind and UTC day of the platform's clock. Those
            of a day that is over only change when persons are erased or the retention ends.
        generation: Grows with every compaction and removal.
    """

    records: Mapping[tuple[RecordKind, date], int]
    generation: int


@dataclass(frozen=True)
class EventSnapshot:
    """Every event once. Equal for equal sets of records, whatever their order and repetition.

    Attributes:
        predictions: Sorted by time, then by what identifies them; one for each unit, request, slot and role.
        impressions: The same; one for each unit, request and slot.
        exposures: The same; one for each unit, experiment, variant and time.
        outcomes: Sorted by the client's time, event id and unit; one for each unit and event id, none with an
            impossible time.
        labels: Sorted by the time they are true of, then by what identifies them; one for each subject,
            name, value and time, none with an impossible time.
        quarantined: Events set aside, by a writer or here; sorted by time.
    """

    predictions: tuple[Prediction, ...] = ()
    impressions: tuple[Impression, ...] = ()
    exposures: tuple[Exposure, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    labels: tuple[Label, ...] = ()
    quarantined: tuple[QuarantinedEvent, ...] = ()


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

    Of several records with one identity the earliest by the platform's clock stays, ties broken by content:
    a choice that no order of arrival can change.
    """
    predictions: dict[Hashable, Prediction] = {}
    impressions: dict[Hashable, Impression] = {}
    exposures: dict[Hashable, Exposure] = {}
    outcomes: dict[Hashable, Outcome] = {}
    labels: dict[Hashable, Label] = {}
    quarantined: dict[Hashable, QuarantinedEvent] = {}
    for record in records:
        if isinstance(record, Impression):
            _keep(impressions, (record.unit, record.request_id, record.slot), record)
        elif isinstance(record, Outcome):
            reason = time_problem(record.occurred_at, record.received_at)
            if reason is None:
                _keep(outcomes, (record.unit, record.event_id), record)
            else:
                _keep_quarantined(quarantined, QuarantinedEvent.of(record, reason))
        elif isinstance(record, Prediction):
            _keep(predictions, (record.unit, record.request_id, record.slot, record.role), record)
        elif isinstance(record, Exposure):
            _keep(exposures, (record.experiment, record.unit, record.variant, record.at), record)
        elif isinstance(record, Label):
            reason = time_problem(record.at, record.received_at)
            if reason is None:
                _keep(labels, _label_identity(record), record)
            else:
                _keep_quarantined(quarantined, QuarantinedEvent.of(record, reason))
        else:
            _keep_quarantined(quarantined, record)
    return EventSnapshot(
        predictions=tuple(
            sorted(
                predictions.values(),
                key=lambda kept: (kept.predicted_at, kept.request_id, kept.slot, kept.role, kept.unit),
            )
        ),
        impressions=tuple(
            sorted(
                impressions.values(),
                key=lambda kept: (kept.predicted_at, kept.request_id, kept.slot, kept.unit),
            )
        ),
        exposures=tuple(
            sorted(exposures.values(), key=lambda kept: (kept.at, kept.experiment, kept.unit, kept.variant))
        ),
        outcomes=tuple(
            sorted(outcomes.values(), key=lambda kept: (kept.occurred_at, kept.event_id, kept.unit))
        ),
        labels=tuple(
            sorted(labels.values(), key=lambda kept: (kept.at, kept.subject, kept.name, repr(kept.value)))
        ),
        quarantined=tuple(
            sorted(
                quarantined.values(),
                key=lambda kept: (kept.received_at, kept.reason, kept.payload, kept.unit or ""),
            )
        ),
    )


def within(snapshot: EventSnapshot, window: TimeRange) -> EventSnapshot:
    """Return the events whose moment lies in ``window``."""
    if window == ALL_TIME:
        return snapshot
    return EventSnapshot(
        predictions=tuple(kept for kept in snapshot.predictions if moment_of(kept) in window),
        impressions=tuple(kept for kept in snapshot.impressions if moment_of(kept) in window),
        exposures=tuple(kept for kept in snapshot.exposures if moment_of(kept) in window),
        outcomes=tuple(kept for kept in snapshot.outcomes if moment_of(kept) in window),
        labels=tuple(kept for kept in snapshot.labels if moment_of(kept) in window),
        quarantined=tuple(kept for kept in snapshot.quarantined if moment_of(kept) in window),
    )


R = TypeVar("R", Prediction, Impression, Exposure, Outcome, Label, QuarantinedEvent)


def _keep(kept: dict[Hashable, R], identity: Hashable, record: R) -> None:
    known = kept.get(identity)
    if known is None or _is_earlier(record, known):
        kept[identity] = record


def _keep_quarantined(kept: dict[Hashable, QuarantinedEvent], record: QuarantinedEvent) -> None:
    # The payload too: a client may send a corrected event under its old id, and be wrong again.
    _keep(kept, (record.reason, record.unit, record.event_id, record.payload), record)


def _label_identity(label: Label) -> Hashable:
    # True equals 1.0 in Python, and they are different labels.
    return (label.subject, label.name, type(label.value), label.value, label.at)


def _is_earlier(record: Record, known: Record) -> bool:
    moment, known_moment = moment_of(record), moment_of(known)
    if moment != known_moment:
        return moment < known_moment
    return record != known and ordering_text(record) < ordering_text(known)
