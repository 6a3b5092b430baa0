"""What is known of a user: one feature-store read, cached, and dropped when the user acts."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final, TypeVar

from services.recommendations.contracts.candidates import Segment, UserState
from streamrec.contracts.conventions import HISTORY_LIMIT, UNKNOWN
from streamrec.contracts.errors import DependencyError, OverloadedError
from streamrec.features.store import FeatureStore, UserFeatures
from streamrec.serving.caches import TtlCache
from streamrec.serving.circuit_breaker import CircuitBreaker

_LOCK_COUNT: Final = 256
_ATTRIBUTES: Final = tuple(attribute.name for attribute in fields(Segment))

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class UserStateSettings:
    """How the feature store is read.

    Attributes:
        cache_lifetime_s: How long a user's row is believed. It is dropped at once when the user acts.
            0: not at all, every request reads the store.
        cache_entries: Users in the cache. A row with a history of 100 items takes about 10 KB.
        read_timeout_ms: Longest wait for a row within a request.
        write_timeout_ms: Longest wait for a history to be written while an event is acknowledged.
        threads: Reads and writes under way at once.
        queue_limit: Reads and writes under way or waiting; more are refused at once.
    """

    cache_lifetime_s: float = 900.0
    cache_entries: int = 20_000
    read_timeout_ms: float = 40.0
    write_timeout_ms: float = 5_000.0
    threads: int = 2
    queue_limit: int = 64


_ABSENT: Final = object()


class UserStates:
    """Reads and updates users. For one event loop; the store's blocking calls run in threads of their own."""

    def __init__(self, store: FeatureStore, settings: UserStateSettings | None = None) -> None:
        self._store = store
        self._settings = settings or UserStateSettings()
        self._cache: TtlCache[str, UserFeatures | None] | None = None
        if self._settings.cache_lifetime_s > 0.0:
            self._cache = TtlCache(
                maximum_entries=self._settings.cache_entries, lifetime_s=self._settings.cache_lifetime_s
            )
        self._threads = ThreadPoolExecutor(self._settings.threads, thread_name_prefix="features")
        self._under_way = 0
        self._breaker = CircuitBreaker("the feature store", failures=(Exception,))
        # Two events of one user must not read the same history and overwrite each other's item.
        self._locks = [asyncio.Lock() for _ in range(_LOCK_COUNT)]

    async def get(self, user_id: str, context: Segment) -> UserState:
        """Return the user's state; ``context`` fills the attributes that the store does not know.

        Raises:
            TemporaryError: The store did not answer in time, or not at all.
        """
        return as_state(user_id, await self._features(user_id), context)

    async def add_to_history(self, user_id: str, item_ids: Sequence[str], occurred_at: datetime) -> None:
        """Append items to the user's history in the store, and forget the cached row.

        Args:
            user_id: Who.
            item_ids: Oldest first.
            occurred_at: Time of the newest one.

        Raises:
            TemporaryError: The store did not answer; the history may or may not have been written.
        """
        async with self._locks[zlib.crc32(user_id.encode()) % _LOCK_COUNT]:
            try:
                await self._run(
                    self._settings.write_timeout_ms, self._append, user_id, tuple(item_ids), occurred_at
                )
            finally:
                if self._cache is not None:
                    self._cache.invalidate(user_id)

    def forget(self) -> None:
        """Forget everything that is cached."""
        if self._cache is not None:
            self._cache.clear()

    def close(self) -> None:
        """Stop the threads; a call under way is finished."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _features(self, user_id: str) -> UserFeatures | None:
        if self._cache is None:
            return await self._read(user_id)
        cached = self._cache.get(user_id, _ABSENT)
        if cached is None or isinstance(cached, UserFeatures):
            return cached
        with self._cache.fill(user_id) as store:
            features = await self._read(user_id)
            store(features)
        return features

    async def _read(self, user_id: str) -> UserFeatures | None:
        with self._breaker.guard():
            return await self._run(self._settings.read_timeout_ms, self._store.user_features, user_id)

    def _append(self, user_id: str, item_ids: tuple[str, ...], occurred_at: datetime) -> None:
        features = self._store.user_features(user_id)
        history = features.history if features is not None else ()
        updated_at = occurred_at
        if features is not None and features.updated_at is not None:
            # The store ignores a row older than the one it has: an event that arrives late must not be lost.
            updated_at = max(occurred_at, features.updated_at)
        self._store.write_history(user_id, (*history, *item_ids)[-HISTORY_LIMIT:], updated_at)

    async def _run(self, timeout_ms: float, call: Callable[..., T], *arguments: object) -> T:
        if self._under_way >= self._settings.queue_limit:
            raise OverloadedError(f"{self._under_way} feature-store calls are under way or waiting")
        self._under_way += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)
        # Counted until the thread is done, not until somebody stops waiting for it.
        future.add_done_callback(self._done)
        try:
            async with asyncio.timeout(timeout_ms / 1000.0):
                return await asyncio.shield(future)
        except TimeoutError as error:
            raise DependencyError(f"the feature store did not answer within {timeout_ms:.0f} ms") from error

    def _done(self, future: asyncio.Future[T]) -> None:
        self._under_way -= 1
        if not future.cancelled():
            future.exception()  # looked at, so that an abandoned call is no unhandled error


def as_state(user_id: str, features: UserFeatures | None, context: Segment) -> UserState:
    """Join what the store knows with what the caller says; the store is believed where it knows something."""
    if features is None:
        return UserState(user_id, context)
    known = {name: getattr(features, name) for name in _ATTRIBUTES}
    merged = {name: value if value != UNKNOWN else getattr(context, name) for name, value in known.items()}
    return UserState(user_id, Segment(**merged), features.history[-HISTORY_LIMIT:])
