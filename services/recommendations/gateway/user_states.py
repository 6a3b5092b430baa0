"""What is known of a user: one feature-store read, cached, and what the user did since."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Final

from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.contracts.known_user import known_user
from services.recommendations.gateway.activity_writer import ActivityWriter, WriterSettings
from streamrec.contracts.conventions import UNKNOWN
from streamrec.contracts.errors import DependencyError, OverloadedError
from streamrec.features.rules import unknown_user, utc_now
from streamrec.features.store import FeatureStore, UserFeatures
from streamrec.features.user_actions import UserAction
from streamrec.serving.caches import TtlCache
from streamrec.serving.circuit_breaker import CircuitBreaker

_ATTRIBUTES: Final = tuple(attribute.name for attribute in fields(Segment))

_GENERATION_CHECK_S: Final = 0.2
"""How long a row may be believed that was read before a materialisation was published."""


@dataclass(frozen=True, slots=True)
class UserStateSettings:
    """How the feature store is read and written.

    Attributes:
        cache_lifetime_s: How long a user's row is believed. It is dropped at once when the user acts, and
            when features are materialised. 0: not at all, every request reads the store.
        cache_entries: Users in the cache. A row with a history of 100 items takes about 10 KB.
        read_timeout_ms: Longest wait for a row within a request.
        write_timeout_ms: Longest wait for the store while an event is acknowledged. The write goes on.
        threads: Reads under way at once.
        queue_limit: Reads under way or waiting; more are refused at once.
        writer: How what users did reaches the store.
    """

    cache_lifetime_s: float = 900.0
    cache_entries: int = 20_000
    read_timeout_ms: float = 40.0
    write_timeout_ms: float = 500.0
    threads: int = 2
    queue_limit: int = 64
    writer: WriterSettings = field(default_factory=WriterSettings)


_ABSENT: Final = object()


class UserStates:
    """Reads and updates users. For one event loop; the store's blocking calls run in threads of their own."""

    def __init__(
        self,
        store: FeatureStore,
        settings: UserStateSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._settings = settings or UserStateSettings()
        self._clock = clock
        self._cache: TtlCache[str, UserFeatures | None] | None = None
        if self._settings.cache_lifetime_s > 0.0:
            self._cache = TtlCache(
                maximum_entries=self._settings.cache_entries, lifetime_s=self._settings.cache_lifetime_s
            )
        self._generation = store.generation()
        self._generation_checked_at_s = clock()
        self._threads = ThreadPoolExecutor(self._settings.threads, thread_name_prefix="feature-reads")
        self._under_way = 0
        self._counting = threading.Lock()
        self._breaker = CircuitBreaker("the feature store", failures=(Exception,))
        self._writer = ActivityWriter(store, self._settings.writer, self._forget)

    async def get(self, user_id: str, context: Segment) -> UserState:
        """Return the user's state; ``context`` fills the attributes that the store does not know.

        What the user did and the store has not taken yet is part of it.

        Raises:
            TemporaryError: The store did not answer in time, or not at all. Other errors come through.
        """
        features = await self._features(user_id)
        pending = self._writer.pending(user_id)
        if pending:
            features = features or unknown_user(user_id)
            features = replace(features, activity=features.activity.with_actions(pending))
        return as_state(user_id, features, context)

    def check_room(self, count: int) -> None:
        """Refuse ``count`` actions before they are acknowledged.

        Raises:
            OverloadedError: Too many wait for the store already.
        """
        self._writer.check_room(count)

    def forget(self) -> None:
        """Forget everything that is cached."""
        if self._cache is not None:
            self._cache.clear()

    @property
    def takes_old_actions(self) -> bool:
        """Whether so little waits for the store that actions of an earlier gateway may be added."""
        return 2 * self._writer.queued_actions < self._settings.writer.queue_limit

    async def add_actions(self, actions: Mapping[str, Sequence[UserAction]]) -> None:
        """Take what users did: the next `get` knows it. Returns when it is in the store, or soon.

        A store that is slow or down gets it later, however long that takes; nobody waits for one that is
        down, nor longer than ``write_timeout_ms`` for one that is slow.

        Args:
            actions: By user id.
        """
        written = self._writer.submit(actions)
        for user_id in actions:
            self._forget(user_id)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(written), self._settings.write_timeout_ms / 1000.0)

    async def close(self) -> None:
        """Write what waits, within the writer's bound of time; a read under way is finished."""
        await self._writer.close()
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)

    def _forget(self, user_id: str) -> None:
        if self._cache is not None:
            self._cache.invalidate(user_id)

    async def _features(self, user_id: str) -> UserFeatures | None:
        if self._cache is None:
            return await self._read(user_id)
        self._drop_what_was_replaced(self._cache)
        cached = self._cache.get(user_id, _ABSENT)
        if cached is None or isinstance(cached, UserFeatures):
            return cached
        with self._cache.fill(user_id) as store:
            features = await self._read(user_id)
            store(features)
        return features

    def _drop_what_was_replaced(self, cache: TtlCache[str, UserFeatures | None]) -> None:
        """A materialisation changes every row, and makes users known who were not."""
        now_s = self._clock()
        if now_s - self._generation_checked_at_s < _GENERATION_CHECK_S:
            return
        self._generation_checked_at_s = now_s
        generation = self._store.generation()
        if generation != self._generation:
            self._generation = generation
            cache.clear()

    async def _read(self, user_id: str) -> UserFeatures | None:
        if self._under_way >= self._settings.queue_limit:
            raise OverloadedError(f"{self._under_way} feature-store reads are under way or waiting")
        # A read that did not come to its turn says nothing of the store.
        with self._breaker.guard(excused=(OverloadedError,)):
            return await self._answer(user_id)

    async def _answer(self, user_id: str) -> UserFeatures | None:
        with self._counting:
            self._under_way += 1
        call = self._threads.submit(self._store.user_features, user_id)
        # Counted until the thread is done, not until somebody stops waiting for it.
        call.add_done_callback(self._count_down)
        try:
            async with asyncio.timeout(self._settings.read_timeout_ms / 1000.0):
                return await asyncio.shield(asyncio.wrap_future(call))
        except TimeoutError as error:
            if call.cancel():
                raise OverloadedError(
                    "the read waited too long for its turn; the store was not asked"
                ) from error
            timeout_ms = self._settings.read_timeout_ms
            raise DependencyError(f"the feature store did not answer within {timeout_ms:.0f} ms") from error
        except asyncio.CancelledError:
            call.cancel()
            raise

    def _count_down(self, _call: Future[UserFeatures | None]) -> None:
        with self._counting:
            self._under_way -= 1


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
