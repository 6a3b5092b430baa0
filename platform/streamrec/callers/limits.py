"""How much a caller may send: a token bucket for its rate, and a share of what is under way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from streamrec.contracts.callers import CallerLimit

_IN_FLIGHT_RETRY_S: Final = 1.0


class LimitReached(StrEnum):
    """Which limit a request met."""

    RATE = "rate"
    IN_FLIGHT = "in_flight"


@dataclass(frozen=True, slots=True)
class OverLimit:
    """A request that is too much.

    Attributes:
        limit: Which limit it met.
        retry_after_s: When another one makes sense.
    """

    limit: LimitReached
    retry_after_s: float


class _Bucket:
    """A token bucket of up to ``burst`` tokens: gains ``requests_per_s`` a second, a request takes one."""

    def __init__(self, limit: CallerLimit, clock: Callable[[], float]) -> None:
        self.limit = limit
        self.in_flight = 0
        self._clock = clock
        self._tokens = float(limit.burst)
        self._filled_at_s = clock()

    def change(self, limit: CallerLimit) -> None:
        """Hold another limit, with a full bucket; what is under way stays counted."""
        self.limit = limit
        self._tokens = float(limit.burst)

    def take(self) -> OverLimit | None:
        limit, now_s = self.limit, self._clock()
        gained = (now_s - self._filled_at_s) * limit.requests_per_s
        self._tokens = min(float(limit.burst), self._tokens + gained)
        self._filled_at_s = now_s
        if limit.maximum_in_flight is not None and self.in_flight >= limit.maximum_in_flight:
            return OverLimit(LimitReached.IN_FLIGHT, _IN_FLIGHT_RETRY_S)
        # A second of ten tenths is a hair short of one token in floating point.
        if self._tokens < 1.0 - 1e-9:
            return OverLimit(LimitReached.RATE, (1.0 - self._tokens) / limit.requests_per_s)
        self._tokens = max(0.0, self._tokens - 1.0)
        self.in_flight += 1
        return None


class Admitted:
    """A request within its limits; call `done` once it is answered."""

    __slots__ = ("_bucket",)

    def __init__(self, bucket: _Bucket | None) -> None:
        self._bucket = bucket

    def done(self) -> None:
        """Give its place back."""
        if self._bucket is not None:
            self._bucket.in_flight -= 1


class CallerLimits:
    """The buckets of one process, by caller. Used from one thread, that of the event loop.

    Each gateway replica has its own: what a caller may send in all is its limit times the number of replicas
    (decision 28 says why nothing is shared).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with full buckets; ``clock`` gives seconds that never go back."""
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def admit(self, name: str, limit: CallerLimit | None) -> Admitted | OverLimit:
        """Let one request of a caller in, or say when to come back.

        Args:
            name: Of the caller; from a bounded set.
            limit: What holds for it now. A changed one counts from the next request on, with a full bucket.
        """
        if limit is None:
            return Admitted(None)
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(limit, self._clock)
        elif bucket.limit != limit:
            bucket.change(limit)
        over = bucket.take()
        return Admitted(bucket) if over is None else over
