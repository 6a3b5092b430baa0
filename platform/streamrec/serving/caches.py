"""A cache that is bounded in size and in age."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
D = TypeVar("D")


@dataclass(slots=True)
class _Fill:
    """One or more loads of a key that are under way; dropped when the key is invalidated meanwhile."""

    loads: int = 0


class TtlCache(Generic[K, V]):
    """Keeps the most recently used values for a limited time. Safe to use from several threads.

    A value that was read before `invalidate` is not stored after it: otherwise a slow read that
    overlaps a write would bring the old value back for a whole lifetime.
    """

    def __init__(
        self,
        *,
        maximum_entries: int,
        lifetime_s: float,
        maximum_weight: float = math.inf,
        weigh: Callable[[V], float] = lambda _: 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin empty.

        Args:
            maximum_entries: How many values are kept, 1 or more.
            lifetime_s: For how long.
            maximum_weight: Of all values together. One that is heavier by itself is not kept.
            weigh: Returns the weight of a value, 0 or more.
            clock: Seconds that never go back.
        """
        if maximum_entries < 1 or not lifetime_s > 0.0 or not maximum_weight > 0.0:
            raise ValueError("a cache needs room for one entry and a lifetime above zero")
        self._maximum_entries = maximum_entries
        self._maximum_weight, self._weigh = maximum_weight, weigh
        self._weight = 0.0
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._lock = Lock()
        self._entries: OrderedDict[K, tuple[float, V, float]] = OrderedDict()
        self._fills: dict[K, _Fill] = {}

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def get(self, key: K, default: D) -> V | D:
        """Return the value of ``key``, or ``default`` if there is none or it is too old."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return default
            expires_at_s, value, _ = entry
            if self._clock() >= expires_at_s:
                self._drop(key)
                return default
            self._entries.move_to_end(key)
            return value

    def invalidate(self, key: K) -> None:
        """Forget ``key``, and keep loads of it that are under way from storing what they read."""
        with self._lock:
            self._drop(key)
            self._fills.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._weight = 0.0
            self._fills.clear()

    @contextmanager
    def fill(self, key: K) -> Iterator[Callable[[V], bool]]:
        """Surround a load of ``key``; works around an ``await`` too.

        Yields:
            Call it with the loaded value: stores the value and returns True, or returns False because
            the key was invalidated since the load began.
        """
        with self._lock:
            fill = self._fills.setdefault(key, _Fill())
            fill.loads += 1

        def store(value: V) -> bool:
            with self._lock:
                if self._fills.get(key) is not fill:
                    return False
                self._store(key, value)
                return True

        try:
            yield store
        finally:
            with self._lock:
                fill.loads -= 1
                if fill.loads == 0 and self._fills.get(key) is fill:
                    del self._fills[key]

    def _store(self, key: K, value: V) -> None:
        weight = self._weigh(value)
        self._drop(key)
        if weight > self._maximum_weight:
            return
        self._entries[key] = (self._clock() + self._lifetime_s, value, weight)
        self._weight += weight
        while len(self._entries) > self._maximum_entries or self._weight > self._maximum_weight:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: K) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._weight -= entry[2]
