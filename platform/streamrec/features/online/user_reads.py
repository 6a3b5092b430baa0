"""The port to a user's row for an event loop, and two ways to have it from a store that blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from streamrec.contracts.errors import DependencyError, OverloadedError

if TYPE_CHECKING:
    from streamrec.features.store import UserFeatures


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Bounds of reads.

    Attributes:
        timeout_ms: Longest wait for a row.
        at_once: Reads under way or waiting; more are refused at once.
        threads: Those of them that are under way, where each needs a thread.
    """

    timeout_ms: float = 40.0
    at_once: int = 64
    threads: int = 2


@dataclass(frozen=True, slots=True)
class UserRow:
    """A row and what tells it from the row after the next change.

    Attributes:
        features: The row; None for a user that the store does not know.
        revision: Another one after every change of the row and after every materialisation, whoever made it;
            compares within one `UserReads`. It may be older than the row, never newer.
    """

    features: UserFeatures | None
    revision: bytes


class UserReads(Protocol):
    """Reads users' rows. For one event loop.

    What was in the store when a method was called is in its answer. All of them raise:

        DependencyError: The store did not answer, or not in time.
        OverloadedError: Too many reads are under way; the store was not asked.
        InvalidInputError: ``user_id`` is empty or too long.
        NotReadyError: Nothing has been materialised yet.
    """

    async def row(self, user_id: str) -> UserRow:
        """Return the row as it is now."""
        ...

    async def revision(self, user_id: str) -> bytes:
        """Return the revision of the row as it is now: cheap, however long the row is."""
        ...

    async def close(self) -> None:
        """Let go of threads and connections."""
        ...


class DirectReads:
    """Reads of a store that never waits."""

    def __init__(self, row: Callable[[str], UserRow], revision: Callable[[str], bytes]) -> None:
        self._row, self._revision = row, revision

    async def row(self, user_id: str) -> UserRow:
        """Return the row; see `UserReads`."""
        return self._row(user_id)

    async def revision(self, user_id: str) -> bytes:
        """Return the row's revision; see `UserReads`."""
        return self._revision(user_id)

    async def close(self) -> None:
        """There is nothing to let go of."""


class ThreadedReads:
    """Reads of a store that blocks, in threads of their own."""

    def __init__(
        self, row: Callable[[str], UserRow], revision: Callable[[str], bytes], limits: ReadLimits
    ) -> None:
        """Describe the reads; no thread runs before the first one.

        Args:
            row: Reads one row. Called from several threads at once, like ``revision``.
            revision: Reads the revision of one.
            limits: Bounds.
        """
        self._row, self._revision = row, revision
        self._limits = limits
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="feature-reads")
        self._under_way = 0
        self._counting = threading.Lock()

    async def row(self, user_id: str) -> UserRow:
        """Return the row; see `UserReads`."""
        return await self._in_thread(self._row, user_id)

    async def revision(self, user_id: str) -> bytes:
        """Return the row's revision; see `UserReads`."""
        return await self._in_thread(self._revision, user_id)

    async def close(self) -> None:
        """Return when no read is under way any more."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)

    async def _in_thread(self, read: Callable[[str], T], user_id: str) -> T:
        with self._counting:
            if self._under_way >= self._limits.at_once:
                raise OverloadedError(f"{self._under_way} feature-store reads are under way or waiting")
            self._under_way += 1
        call = self._threads.submit(read, user_id)
        # Counted until the thread is done, not until somebody stops waiting for it.
        call.add_done_callback(self._count_down)
        try:
            async with asyncio.timeout(self._limits.timeout_ms / 1000.0):
                return await asyncio.shield(asyncio.wrap_future(call))
        except TimeoutError as error:
            if call.cancel():
                raise OverloadedError(
                    "the read waited too long for its turn; the store was not asked"
                ) from error
            raise DependencyError(
                f"the feature store did not answer within {self._limits.timeout_ms:.0f} ms"
            ) from error
        except asyncio.CancelledError:
            call.cancel()
            raise

    def _count_down(self, _call: Future[T]) -> None:
        with self._counting:
            self._under_way -= 1
