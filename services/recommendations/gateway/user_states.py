"""What is known of a user: one feature-store read, cached, and what the user did since."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import partial
from typing import Final

from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.contracts.known_user import known_user
from services.recommendations.gateway.activity_writer import ActivityWriter, WriterSettings
from streamrec.contracts.conventions import UNKNOWN
from streamrec.contracts.errors import DamagedRowError, DependencyError, InvalidInputError, OverloadedError
from streamrec.events.compaction import nobody
from streamrec.features.online.user_reads import ReadLimits, UserRow
from streamrec.features.rules import unknown_user, utc_now
from streamrec.features.store import FeatureStore, UserFeatures
from streamrec.features.user_actions import UserAction
from streamrec.serving.caches import TtlCache
from streamrec.serving.circuit_breaker import CircuitBreaker, CircuitState
from streamrec.serving.single_flight import SingleFlight

_ATTRIBUTES: Final = tuple(attribute.name for attribute in fields(Segment))

_NO_REVISION: Final = b""
"""Of a row that was put together here: it only stands in for one that cannot be read."""

_SLACK_MS: Final = 5.0
"""What a request may wait beyond the bound of one read, which is to say by itself why it failed."""


@dataclass(frozen=True, slots=True)
class UserStateSettings:
    """How the feature store is read and written.

    Attributes:
        kept_for_s: How long a row that was read is kept. It is believed while its revision is that of the
            store, so until the user acts; and it stands in for one that cannot be read. 0: not at all.
        kept_rows: Users whose rows are kept, at most.
        kept_items: Items in all rows that are kept, at most; each takes about 110 bytes, with its time.
        reads: Bounds of reads; ``timeout_ms`` is the longest wait for a row within a request.
        write_timeout_ms: Longest wait for the store while an event is acknowledged. The write goes on.
        writer: How what users did reaches the store.
    """

    kept_for_s: float = 900.0
    kept_rows: int = 20_000
    kept_items: int = 2_000_000
    reads: ReadLimits = field(default_factory=ReadLimits)
    write_timeout_ms: float = 500.0
    writer: WriterSettings = field(default_factory=WriterSettings)


@dataclass(frozen=True, slots=True)
class ReadUser:
    """What is known of a user.

    Attributes:
        state: As the stages see it.
        problem: Why the row could not be read now, so that an earlier one stands in for it; None where it was
            read.
    """

    state: UserState
    problem: Exception | None = None


class UserStates:
    """Reads and updates users. For one event loop.

    Another gateway may change a row at any time, so every request asks the store: for the row, or, where it
    is kept, for its revision alone. So any number of gateways answers from what users did last (decision 24).
    """

    def __init__(
        self,
        store: FeatureStore,
        settings: UserStateSettings | None = None,
        *,
        is_erased: Callable[[str], bool] = nobody,
    ) -> None:
        """Open the reads; nothing is asked before the first request.

        Args:
            store: Where rows are.
            settings: How it is read and written.
            is_erased: Says of a user whether nothing may be kept.
        """
        self._settings = settings or UserStateSettings()
        self._kept: TtlCache[str, UserRow] | None = None
        if self._settings.kept_for_s > 0.0:
            self._kept = TtlCache(
                maximum_entries=self._settings.kept_rows,
                lifetime_s=self._settings.kept_for_s,
                maximum_weight=self._settings.kept_items,
                weigh=_items_in,
            )
        self._reads = store.reads(self._settings.reads)
        self._shared = SingleFlight[str, UserFeatures | None]()
        self._breaker = CircuitBreaker("the feature store", failures=(Exception,))
        self._outage_since: datetime | None = None
        self._outages: asyncio.Queue[datetime] = asyncio.Queue()
        self._writer = ActivityWriter(store, self._settings.writer, self._changed, is_erased=is_erased)

    async def get(self, user_id: str, context: Segment, within_ms: float = math.inf) -> ReadUser:
        """Return the user's state; ``context`` fills the attributes that the store does not know.

        What the user did and the store has not taken yet is part of it. Where the row cannot be read, the
        one that was read last is, if that is not too long ago.

        Args:
            user_id: Who.
            context: What the caller says.
            within_ms: What the caller can wait; the settings bound it too.

        Raises:
            TimeoutError: The caller could not wait long enough, and no row is kept.
            TemporaryError: The store did not answer in time, or not at all, and no row is kept. Other errors
                come through.
        """
        # Asked twice: what is written while the row is read is in one of the two.
        pending = self._writer.pending(user_id)
        problem: Exception | None = None
        longest_ms = self._settings.reads.timeout_ms + _SLACK_MS
        try:
            async with asyncio.timeout(min(within_ms, longest_ms) / 1000.0):
                features = await self._shared(user_id, partial(self._read, user_id))
        except InvalidInputError:
            raise
        except Exception as error:
            kept = self._kept.get(user_id, None) if self._kept is not None else None
            if kept is None:
                if isinstance(error, TimeoutError) and longest_ms <= within_ms:
                    raise DependencyError("the feature store did not answer in time") from error
                raise
            features, problem = kept.features, error
        pending = (*pending, *self._writer.pending(user_id))
        if pending:
            features = features or unknown_user(user_id)
            features = replace(features, activity=features.activity.with_actions(pending))
        return ReadUser(as_state(user_id, features, context), problem)

    def check_room(self, count: int) -> None:
        """Refuse ``count`` actions before they are acknowledged.

        Raises:
            OverloadedError: Too many wait for the store already.
        """
        self._writer.check_room(count)

    def forget(self) -> None:
        """Forget every row that is kept."""
        if self._kept is not None:
            self._kept.clear()

    @property
    def takes_old_actions(self) -> bool:
        """Whether so little waits for the store that actions of another gateway may be added.

        Nobody whose event is acknowledged now is to wait for them.
        """
        return self._writer.waiting_users < self._settings.writer.batch_users

    async def outage_over(self) -> datetime:
        """Wait for the end of the next outage of the store, and return about when it began, UTC.

        An outage is one that opened the circuit. Each is returned once.
        """
        return await self._outages.get()

    async def add_actions(self, actions: Mapping[str, Sequence[UserAction]]) -> None:
        """Take what users did: the next `get` knows it. Returns when it is in the store, or soon.

        A store that is slow or down gets it later, however long that takes; nobody waits for one that is
        down, nor longer than ``write_timeout_ms`` for one that is slow. `in_store` says which it was.

        Args:
            actions: By user id.
        """
        written = self._writer.submit(actions)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(written), self._settings.write_timeout_ms / 1000.0)

    def in_store(self, user_id: str) -> bool:
        """Whether the store has all that was taken of the user here: then every gateway knows it."""
        return not self._writer.pending(user_id)

    async def close(self) -> None:
        """Write what waits, within the writer's bound of time; a read under way is finished."""
        await self._writer.close()
        await self._reads.close()

    async def _read(self, user_id: str) -> UserFeatures | None:
        try:
            features = await self._row(user_id)
        except Exception:
            if self._outage_since is None and self._breaker.state is CircuitState.OPEN:
                self._outage_since = utc_now()
            raise
        if self._outage_since is not None and self._breaker.state is CircuitState.CLOSED:
            self._outages.put_nowait(self._outage_since)
            self._outage_since = None
        return features

    async def _row(self, user_id: str) -> UserFeatures | None:
        # What did not come to its turn says nothing of the store, nor does a row that somebody damaged.
        with self._breaker.guard(excused=(OverloadedError, InvalidInputError, DamagedRowError)):
            if self._kept is None:
                return (await self._reads.row(user_id)).features
            with self._kept.fill(user_id) as keep:
                kept = self._kept.get(user_id, None)
                if (
                    kept is not None
                    and kept.revision != _NO_REVISION
                    and kept.revision == await self._reads.revision(user_id)
                ):
                    return kept.features
                row = await self._reads.row(user_id)
                keep(row)
                return row.features

    def _changed(self, user_id: str, acted: Sequence[UserAction]) -> None:
        """Keep a row with what was added to it for when none can be read; the next request reads it."""
        if self._kept is None:
            return
        kept = self._kept.get(user_id, None)
        self._kept.invalidate(user_id)  # a read under way may have begun before the change
        if kept is None:
            return
        features = kept.features or unknown_user(user_id)
        features = replace(features, activity=features.activity.with_actions(acted))
        with self._kept.fill(user_id) as keep:
            keep(UserRow(features, _NO_REVISION))


def _items_in(row: UserRow) -> int:
    if row.features is None:
        return 0
    activity = row.features.activity
    return len(activity.history) + len(activity.disliked) + len(activity.skipped)


def as_state(
    user_id: str, features: UserFeatures | None, context: Segment, now: datetime | None = None
) -> UserState:
    """Join what the store knows with what the caller says; the store is believed where it knows something.

    Args:
        user_id: Who.
        features: The user's row; None where there is none.
        context: What the caller says.
        now: From when the ages of skips are counted; the machine's clock where None.
    """
    if features is None:
        return UserState(user_id, context)
    known = {name: getattr(features, name) for name in _ATTRIBUTES}
    merged = {name: value if value != UNKNOWN else getattr(context, name) for name, value in known.items()}
    return known_user(user_id, Segment(**merged), features.activity, now or utc_now())
