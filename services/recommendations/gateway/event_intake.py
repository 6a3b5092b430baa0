"""Taking events: on disk first, then counted once, then in the user's history."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from services.recommendations.gateway.metrics import RecommendationMetrics
from services.recommendations.gateway.schemas import EventAnswer, EventIn
from services.recommendations.gateway.schemas import QuarantinedEvent as QuarantinedInAnswer
from services.recommendations.gateway.user_states import UserStates
from streamrec.contracts.errors import StreamRecError, TemporaryError
from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.events.event_log import time_problem
from streamrec.events.records import QuarantinedEvent, QuarantineReason, Record
from streamrec.serving.recent_ids import RecentIds

_LOG = logging.getLogger(__name__)

_REMEMBERED_IDS: Final = 100_000
"""Ids known to have been applied, about 200 bytes each. The log's reader deduplicates what is older."""

_DETAILS: Final = {
    QuarantineReason.UNKNOWN_ITEM: "the item is not in the catalogue",
    QuarantineReason.FUTURE_DATED: "occurred_at lies more than 5 minutes in the future",
    QuarantineReason.IMPOSSIBLE_DATE: "occurred_at lies before the year 2000",
}


def _now() -> datetime:
    return datetime.now(UTC)


class EventLog(Protocol):
    """Writes records; `streamrec.events` has the real one."""

    async def append(self, records: Sequence[Record], *, durable: bool) -> None:
        """Write all or raise `TemporaryError`; with ``durable`` they survive a crash when this returns."""
        ...


class EventIntake:
    """Applies events. For one event loop."""

    def __init__(
        self,
        log: EventLog,
        users: UserStates,
        known_items: Collection[str],
        metrics: RecommendationMetrics,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._log = log
        self._users = users
        self._known_items = known_items
        self._metrics = metrics
        self._now = now
        self._applied = RecentIds(_REMEMBERED_IDS)
        self._under_way: dict[str, asyncio.Future[None]] = {}

    async def accept(self, events: Sequence[EventIn]) -> EventAnswer:
        """Take a batch. When this returns, every event of it is on disk.

        An event that was sent before is acknowledged again and not applied again; one that is being taken by
        another request right now is waited for.

        Raises:
            TemporaryError: The log could not be written. Send the batch again: what reached it is known.
        """
        received_at = self._now()
        fresh, duplicates, elsewhere = self._sort_out(events)
        outcomes: list[Outcome] = []
        quarantined: list[QuarantinedInAnswer] = []
        records: list[Record] = []
        for index, event in fresh:
            reason = self._problem_with(event, received_at)
            if reason is None:
                outcome = _outcome(event, received_at)
                outcomes.append(outcome)
                records.append(outcome)
            else:
                records.append(QuarantinedEvent(event.event_id, reason, received_at, event.model_dump_json()))
                quarantined.append(
                    QuarantinedInAnswer(
                        index=index, event_id=event.event_id, reason=reason.value, detail=_DETAILS[reason]
                    )
                )
        await self._write(records, [event.event_id for _, event in fresh])
        self._count(outcomes, quarantined, duplicates)
        await self._apply(outcomes)
        for future in elsewhere:
            await asyncio.shield(future)
        return EventAnswer(
            accepted=len(outcomes) + duplicates, duplicates=duplicates, quarantined=quarantined
        )

    def _sort_out(
        self, events: Sequence[EventIn]
    ) -> tuple[list[tuple[int, EventIn]], int, list[asyncio.Future[None]]]:
        """Split into new events, the number of known ones, and those that another request is writing."""
        fresh: dict[str, tuple[int, EventIn]] = {}
        elsewhere: list[asyncio.Future[None]] = []
        duplicates = 0
        for index, event in enumerate(events):
            if event.event_id in fresh or event.event_id in self._applied:
                duplicates += 1
            elif event.event_id in self._under_way:
                duplicates += 1
                elsewhere.append(self._under_way[event.event_id])
            else:
                fresh[event.event_id] = (index, event)
        return list(fresh.values()), duplicates, elsewhere

    def _problem_with(self, event: EventIn, received_at: datetime) -> QuarantineReason | None:
        reason = time_problem(event.occurred_at, received_at)
        if reason is None and event.item_id not in self._known_items:
            return QuarantineReason.UNKNOWN_ITEM
        return reason

    async def _write(self, records: Sequence[Record], event_ids: Sequence[str]) -> None:
        if not records:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for event_id in event_ids:
            self._under_way[event_id] = done
        try:
            await self._log.append(records, durable=True)
        except BaseException as error:
            done.set_exception(
                error if isinstance(error, TemporaryError) else TemporaryError("the events were not stored")
            )
            done.exception()  # looked at: nobody may be waiting
            raise
        else:
            # Only now: an id that is remembered before its event is on disk would turn a retry into a loss.
            for event_id in event_ids:
                self._applied.add(event_id)
            done.set_result(None)
        finally:
            for event_id in event_ids:
                del self._under_way[event_id]

    def _count(
        self, outcomes: Sequence[Outcome], quarantined: Sequence[QuarantinedInAnswer], duplicates: int
    ) -> None:
        for outcome in outcomes:
            self._metrics.count_event(InteractionKind(outcome.kind))
        for event in quarantined:
            self._metrics.count_quarantined_event(QuarantineReason(event.reason))
        for _ in range(duplicates):
            self._metrics.count_duplicate_event()

    async def _apply(self, outcomes: Sequence[Outcome]) -> None:
        """Add positive events to their users' histories, oldest first, all users at once."""
        by_user: dict[str, list[Outcome]] = {}
        for outcome in sorted(outcomes, key=lambda outcome: outcome.occurred_at):
            if InteractionKind(outcome.kind).positive:
                by_user.setdefault(outcome.unit, []).append(outcome)
        await asyncio.gather(*(self._apply_to(user_id, acted) for user_id, acted in by_user.items()))

    async def _apply_to(self, user_id: str, outcomes: Sequence[Outcome]) -> None:
        newest = outcomes[-1]
        # The store ignores what is older than what it has: a clock that is ahead must not block later events.
        updated_at = min(newest.occurred_at, newest.received_at)
        try:
            item_ids = [outcome.item_id for outcome in outcomes if outcome.item_id is not None]
            await self._users.add_to_history(user_id, item_ids, updated_at)
        except StreamRecError:
            # The events are on disk, and the next `streamrec features materialize` reads them from there:
            # nothing is lost, but until then the user's answers do not know them.
            _LOG.exception("%d events of a user did not reach the feature store", len(outcomes))


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
