"""One call of a key at a time, however many want its result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Shares calls. For one event loop.

    Who comes while a call is under way does not get its result, which may be older than what the caller knows
    to be there: it shares the next call, which begins when the one under way ends. So nobody waits for more
    than two calls, and a result is never older than the wish for it.
    """

    def __init__(self) -> None:
        self._under_way: dict[K, asyncio.Task[V]] = {}
        self._next: dict[K, asyncio.Task[V]] = {}

    async def __call__(self, key: K, call: Callable[[], Awaitable[V]]) -> V:
        """Return the result of a call that begins now or later; raises what it raises.

        A caller that is cancelled stops waiting; the call goes on, for the others.
        """
        task = self._next.get(key)
        if task is None:
            before = self._under_way.get(key)
            if before is None:
                task = self._started(self._under_way, key, self._run(key, call))
            else:
                task = self._started(self._next, key, self._run_after(before, key, call))
        return await asyncio.shield(task)

    def _started(self, tasks: dict[K, asyncio.Task[V]], key: K, running: Awaitable[V]) -> asyncio.Task[V]:
        task = asyncio.ensure_future(running)
        # Nobody may be left to be told of an error.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        tasks[key] = task
        return task

    async def _run(self, key: K, call: Callable[[], Awaitable[V]]) -> V:
        try:
            return await call()
        finally:
            del self._under_way[key]

    async def _run_after(self, before: asyncio.Task[V], key: K, call: Callable[[], Awaitable[V]]) -> V:
        try:
            await asyncio.wait([before])
        finally:
            task = self._next.pop(key)
        self._under_way[key] = task
        return await self._run(key, call)
