"""Taking events: on disk first, then counted once, then in the user's history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from services.recommendations.gateway.event_batches import MalformedEvent
from services.recommendations.gateway.faults import Faults
from services.recommendations.gateway.metrics import RecommendationMetrics
from services.recommendations.gateway.recent_events import EventIdentity, RecentEvents, identity_of
from services.recommendations.gateway.schemas import MAXIMUM_BATCH, EventAnswer, EventIn, EventVerdict
from services.recommendations.gateway.schemas import QuarantinedEvent as QuarantinedInAnswer
from services.recommendations.gateway.user_states import UserStates
from services.recommendations.gateway.waiting_events import WaitingEvents
from streamrec.contracts.errors import DependencyError, StreamRecError
from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.events.compaction import nobody
from streamrec.events.event_log import time_problem
from streamrec.events.records import QuarantinedEvent, QuarantineReason, Record
from streamrec.features.new_actions import actions_by_user

_REMEMBERED_EVENTS: Final = 100_000
"""Events whose verdict is known, about 400 bytes each. The log's reader deduplicates what is older."""

_WAITING_EVENTS: Final = 50_000
"""Events on items that are not known yet, about a kilobyte each."""

_FEATURE_STORE: Final = "feature_store"
_EVENT_LOG: Final = "event_log"

_DETAILS: Final = {
    QuarantineReason.UNKNOWN_ITEM: "the item is not in the catalogue; the event will count when it is",
    QuarantineReason.FUTURE_DATED: "occurred_at lies more than 5 minutes in the future",
    QuarantineReason.IMPOSSIBLE_DATE: "occurred_at lies before the year 2000",
}


ERASED_USER: Final = "erased_user"
"""The reason in the answer where nothing is kept of an event, in the log either."""

_ERASED_DETAIL: Final = "the user has been erased; the event was not stored and must not be sent again"


def _now() -> datetime:
    return datetime.now(UTC)


class EventLog(Protocol):
    """Writes records; `streamrec.events` has the real one."""

    async def append(self, records: Sequence[Record], *, durable: bool) -> None:
        """Write all or raise `TemporaryError`; with ``durable`` they survive a crash when this returns."""
        ...


@dataclass
class _Batch:
    """What is to become of the events of one request, while it is being found out.

    Attributes:
        received_at: When the request came.
        verdicts: One for each event.
        duplicates: Events that were known before.
        counting: Users of the events that count, known before or not.
        taken: Events to be remembered once they are on disk, with why they are set aside.
        outcomes: Events that count from now on.
        records: All that is to be written.
        quarantined: What the answer says of events that are set aside.
    """

    received_at: datetime
    verdicts: list[EventVerdict] = field(default_factory=list)
    duplicates: int = 0
    counting: set[str] = field(default_factory=set)
    taken: list[tuple[EventIn, QuarantineReason | None]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    quarantined: list[QuarantinedInAnswer] = field(default_factory=list)

    def set_aside(self, index: int, event_id: str | None, reason: str, detail: str) -> None:
        """Say in the answer that an event does not count."""
        self.verdicts.append(EventVerdict.QUARANTINED)
        self.quarantined.append(
            QuarantinedInAnswer(index=index, event_id=event_id, reason=str(reason), detail=detail)
        )


class EventIntake:
    """Applies events. For one event loop."""

    def __init__(
        self,
        log: EventLog,
        users: UserStates,
        known_items: Callable[[], Container[str]],
        metrics: RecommendationMetrics,
        now: Callable[[], datetime] = _now,
        *,
        is_erased: Callable[[str], bool] = nobody,
        set_aside: Iterable[QuarantinedEvent] = (),
    ) -> None:
        """Compose an intake.

        Args:
            log: Where events are written.
            users: Whose histories they go into.
            known_items: The items that events may be about, as of now; something in which a look-up is cheap.
            metrics: Where they are counted.
            now: Tells the time, UTC.
            is_erased: Says of a user whether nothing may be kept.
            set_aside: Events of earlier runs that wait for their item, oldest first.
        """
        self._log = log
        self._users = users
        self._known_items = known_items
        self._metrics = metrics
        self._faults = Faults(metrics)
        self._now = now
        self._is_erased = is_erased
        self._recent = RecentEvents(_REMEMBERED_EVENTS)
        self._waiting = WaitingEvents(_WAITING_EVENTS)
        self._waiting.add_set_aside(set_aside)
        metrics.watch_waiting_events(lambda: len(self._waiting))
        self._under_way: dict[EventIdentity, asyncio.Future[None]] = {}

    async def accept(self, events: Sequence[EventIn | MalformedEvent]) -> EventAnswer:
        """Take a batch. When this returns, every event of it is on disk.

        Each event is judged by itself; what cannot be understood is set aside like what must not count.

        An event that was sent before gets its first verdict again and is not applied again; one that is being
        taken by another request right now is waited for. One that was set aside may be sent corrected, under
        its old id. Nothing is kept of a user who was erased.

        Raises:
            TemporaryError: The log could not be written, or so much waits for the feature store that nothing
                more is acknowledged. Send the batch again: what reached the log is known. After the log is
                written, nothing is raised.
        """
        await self._until_nobody_takes(events)
        batch = self._sorted_out(events)
        self._users.check_room(len(batch.outcomes))
        await self._write(batch)
        self._count(batch)
        try:
            await self._apply(batch.outcomes)
        except Exception as error:  # noqa: BLE001 - on disk is acknowledged: a retry would be a duplicate
            self._faults.note(_FEATURE_STORE, error, "histories wait for the next materialisation")
        return EventAnswer(
            verdicts=batch.verdicts,
            accepted=len(batch.outcomes) + batch.duplicates,
            duplicates=batch.duplicates,
            quarantined=batch.quarantined,
            in_effect=all(self._users.in_store(user_id) for user_id in batch.counting),
        )

    def forget_erased(self) -> None:
        """Forget the users who have been erased meanwhile."""
        self._recent.forget(self._is_erased)
        self._waiting.forget(self._is_erased)

    async def readmit(self) -> int:
        """Take the events that waited for an item which is known by now; returns how many count.

        They are taken as if they had just been sent, with the time at which they occurred: written once
        more, now as what counts, and put into their users' histories. What fails goes on waiting.

        Raises:
            TemporaryError: The log could not be written.
        """
        count = 0
        while events := self._waiting.on_known(self._known_items(), MAXIMUM_BATCH):
            answer = await self.accept(events)
            count += answer.accepted - answer.duplicates
            for event in events:
                self._waiting.discard(identity_of(event))
        return count

    async def _until_nobody_takes(self, events: Sequence[EventIn | MalformedEvent]) -> None:
        """Wait for other requests that are writing events with the ids of these."""
        identities = {identity_of(event) for event in events if isinstance(event, EventIn)}
        while waiting := [future for key, future in self._under_way.items() if key in identities]:
            await asyncio.wait(waiting)

    def _sorted_out(self, events: Sequence[EventIn | MalformedEvent]) -> _Batch:
        """Find the verdict on every event: its first one, one that this batch has just given, or a new."""
        batch = _Batch(self._now())
        in_batch = RecentEvents(len(events))
        for index, event in enumerate(events):
            if event.user_id is not None and self._is_erased(event.user_id):
                batch.set_aside(index, event.event_id, ERASED_USER, _ERASED_DETAIL)
            elif isinstance(event, MalformedEvent):
                batch.set_aside(index, event.event_id, QuarantineReason.MALFORMED, event.problem)
                batch.records.append(_unread(event, batch.received_at))
            else:
                self._judge(index, event, batch, in_batch)
        return batch

    def _judge(self, index: int, event: EventIn, batch: _Batch, in_batch: RecentEvents) -> None:
        first = in_batch.verdict_on(event) or self._recent.verdict_on(event)
        if first is not None and first.reason is None:
            batch.duplicates += 1
            batch.counting.add(event.user_id)
            batch.verdicts.append(EventVerdict.DUPLICATE)
            return
        reason = first.reason if first is not None else self._problem_with(event, batch.received_at)
        if reason is None:
            outcome = _outcome(event, batch.received_at)
            batch.outcomes.append(outcome)
            batch.counting.add(event.user_id)
            batch.records.append(outcome)
            batch.taken.append((event, None))
            batch.verdicts.append(EventVerdict.ACCEPTED)
        else:
            batch.set_aside(index, event.event_id, reason, _DETAILS[reason])
            if not (in_batch.is_set_aside(event) or self._recent.is_set_aside(event)):
                batch.records.append(_set_aside(event, reason, batch.received_at))
                batch.taken.append((event, reason))
        in_batch.remember(event, reason)

    def _problem_with(self, event: EventIn, received_at: datetime) -> QuarantineReason | None:
        reason = time_problem(event.occurred_at, received_at)
        if reason is None and event.item_id not in self._known_items():
            return QuarantineReason.UNKNOWN_ITEM
        return reason

    async def _write(self, batch: _Batch) -> None:
        if not batch.records:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        identities = {identity_of(event) for event, _ in batch.taken}
        for identity in identities:
            self._under_way[identity] = done
        try:
            await self._append(batch.records)
            # Only now: an event that is remembered before it is on disk would turn a retry into a loss.
            for event, reason in batch.taken:
                self._recent.remember(event, reason)
                if reason is QuarantineReason.UNKNOWN_ITEM:
                    self._waiting.add(event)
                else:
                    self._waiting.discard(identity_of(event))
        finally:
            for identity in identities:
                del self._under_way[identity]
            done.set_result(None)

    async def _append(self, records: Sequence[Record]) -> None:
        try:
            await self._log.append(records, durable=True)
        except Exception as error:
            self._faults.note(_EVENT_LOG, error, "events are not acknowledged")
            if isinstance(error, StreamRecError):
                raise
            raise DependencyError("the event log could not be written") from error

    def _count(self, batch: _Batch) -> None:
        for record in batch.records:
            if isinstance(record, QuarantinedEvent):
                self._metrics.count_quarantined_event(record.reason)
            elif isinstance(record, Outcome):
                self._metrics.count_event(InteractionKind(record.kind))
        for _ in range(batch.duplicates):
            self._metrics.count_duplicate_event()

    async def _apply(self, outcomes: Sequence[Outcome]) -> None:
        """Bring what users did with items into the feature store, all users at once."""
        by_user = actions_by_user(outcomes)
        if by_user:
            await self._users.add_actions(by_user)


def _set_aside(event: EventIn, reason: QuarantineReason, received_at: datetime) -> QuarantinedEvent:
    return QuarantinedEvent(event.event_id, reason, received_at, event.model_dump_json(), unit=event.user_id)


def _unread(event: MalformedEvent, received_at: datetime) -> QuarantinedEvent:
    reason = QuarantineReason.MALFORMED
    return QuarantinedEvent(event.event_id, reason, received_at, event.payload, unit=event.user_id)


def _outcome(event: EventIn, received_at: datetime) -> Outcome:
    return Outcome(
        event_id=event.event_id,
        unit=event.user_id,
        item_id=event.item_id,
        kind=event.kind,
        occurred_at=event.occurred_at.astimezone(UTC),
        received_at=received_at,
        request_id=event.request_id,
        value=event.value,
    )
