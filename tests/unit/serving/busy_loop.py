"""A simulated event loop that computes what it is asked for: requests in, answers and refusals out.

It does what an event loop does. It looks for what came in, deals with all of it (a request is admitted or
refused, and either costs a little), lets a request under way compute one piece, and looks again. What
comes in meanwhile lies unseen in its socket. Time is simulated and chance has a seed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from streamrec.serving.admission import Admission
from streamrec.serving.concurrency_limit import ConcurrencyLimit


@dataclass
class Outcome:
    """What became of the requests. Times in seconds.

    Attributes:
        answered: When it came in and how long it took, of every request that was answered.
        refused: The same of those that were refused.
        limits: The limit, whenever something was done.
    """

    answered: list[tuple[float, float]] = field(default_factory=list)
    refused: list[tuple[float, float]] = field(default_factory=list)
    limits: list[tuple[float, int]] = field(default_factory=list)

    def goodput(self, since_s: float, until_s: float, within_s: float) -> float:
        """Answers a second in time, of requests of that period."""
        good = sum(since_s <= at < until_s and took <= within_s for at, took in self.answered)
        return good / (until_s - since_s)

    def refusals(self, since_s: float, until_s: float) -> int:
        """How many were refused in that period."""
        return sum(since_s <= at < until_s for at, _ in self.refused)


@dataclass
class BusyLoop:
    """The loop.

    Attributes:
        limit: Says how many may be under way.
        service_s: Mean time that a request computes; by a quarter more or less.
        refusal_s: Time that a refusal costs.
        budget_s: Of a request.
        pieces: A request computes in so many pieces.
        seed: Of the times.
        one_at_a_time: Whether a request computes to its end before the next one begins; else all under way
            take turns.
        admission: The places, where others want to know of every request; else ``limit`` alone decides.
        clock: Set to the simulated time.
    """

    limit: ConcurrencyLimit
    service_s: float = 0.005
    refusal_s: float = 0.0001
    budget_s: float = 0.1
    pieces: int = 4
    seed: int = 0
    one_at_a_time: bool = True
    admission: Admission | None = None
    clock: list[float] = field(default_factory=lambda: [0.0])

    def _reached(self, share: float) -> None:
        if share >= 1.0:
            self.limit.reached()

    def run(
        self, arrivals_s: Sequence[float], slowed: Callable[[float], float] = lambda _now: 1.0
    ) -> Outcome:
        """Serve requests that come at these times; ``slowed`` says how many times as long computing takes."""
        rng = np.random.default_rng(self.seed)
        costs = rng.gamma(16.0, self.service_s / 16.0, len(arrivals_s)).tolist()
        waiting = deque(zip(arrivals_s, costs, strict=True))
        active: deque[list[float]] = deque()
        admission = self.admission or Admission(lambda: self.limit.current, self._reached)
        outcome, now = Outcome(), 0.0
        while waiting or active:
            if not active and waiting[0][0] > now:
                now = waiting[0][0]
            while waiting and waiting[0][0] <= now:
                at, cost = waiting.popleft()
                self.clock[0] = now
                if admission.take():
                    active.append([at, cost / self.pieces, self.pieces])
                else:
                    now += self.refusal_s
                    outcome.refused.append((at, now - at))
            for _ in range(1 if self.one_at_a_time else len(active)):
                request = active.popleft()
                now += request[1] * slowed(now)
                request[2] -= 1
                if request[2] > 0:
                    (active.appendleft if self.one_at_a_time else active.append)(request)
                    continue
                admission.leave()
                outcome.answered.append((request[0], now - request[0]))
                self.limit.measured((now - request[0]) / self.budget_s, now)
                outcome.limits.append((now, self.limit.current))
        return outcome


def poisson(rate: float, since_s: float, until_s: float, seed: int = 0) -> list[float]:
    """Times at which requests come, so many a second on average."""
    rng = np.random.default_rng((seed, int(rate * 1000), int(since_s * 1000)))
    gaps = rng.exponential(1.0 / rate, int(1.2 * rate * (until_s - since_s)) + 50)
    times = since_s + np.cumsum(gaps)
    return [float(time) for time in times if time < until_s]
