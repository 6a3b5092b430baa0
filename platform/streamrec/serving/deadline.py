"""How long a request may still take, and how long the call that is being made for it may."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, Self

from streamrec.contracts.errors import DeadlineExceededError


@dataclass(frozen=True, slots=True)
class Deadline:
    """A budget of time that started to run when the request arrived.

    A clock reading means nothing in another process: hand `remaining_ms` over and start a new deadline there.

    Attributes:
        budget_ms: What the request had in all.
        started_at_s: Reading of ``clock`` when it started.
        clock: Seconds that never go back.
    """

    budget_ms: float
    started_at_s: float
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)

    @classmethod
    def after_ms(cls, budget_ms: float, clock: Callable[[], float] = time.monotonic) -> Self:
        """Return a deadline ``budget_ms`` from now.

        Raises:
            ValueError: The budget is negative or not finite: nothing may wait for ever.
        """
        if not math.isfinite(budget_ms) or budget_ms < 0.0:
            raise ValueError(f"a deadline needs a finite budget of 0 ms or more, not {budget_ms}")
        return cls(budget_ms, clock(), clock)

    def elapsed_ms(self) -> float:
        """Time spent since the start."""
        return (self.clock() - self.started_at_s) * 1000.0

    def remaining_ms(self) -> float:
        """Time left, never below zero."""
        return max(0.0, self.budget_ms - self.elapsed_ms())

    def spent_of_ms(self, budget_ms: float) -> float:
        """What a request with a budget of ``budget_ms`` has spent that has as much left as this one.

        For whoever knows only the time spent and takes it to be out of that budget; never below zero.
        """
        return max(0.0, budget_ms - self.remaining_ms())

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.remaining_ms() <= 0.0

    def share_ms(self, budget_ms: float, *, reserve_ms: float = 0.0) -> float:
        """What a stage that asks for ``budget_ms`` may take if ``reserve_ms`` must be left after it."""
        return max(0.0, min(budget_ms, self.remaining_ms() - reserve_ms))

    def check(self, what: str) -> None:
        """Raise `DeadlineExceededError`, naming ``what`` comes too late, if no time is left."""
        if self.expired:
            raise DeadlineExceededError(
                f"{what}: {self.elapsed_ms():.0f} ms spent of a budget of {self.budget_ms:.0f} ms"
            )


_OF_CALL: Final[ContextVar[Deadline | None]] = ContextVar("deadline_of_call", default=None)


@contextmanager
def call_within(deadline: Deadline) -> Iterator[None]:
    """Let whoever carries the call of the body into another process know when nobody waits for it any more.

    As with the deadlines of gRPC, it travels beside the arguments: only what leaves the process looks at it.
    """
    token = _OF_CALL.set(deadline)
    try:
        yield
    finally:
        _OF_CALL.reset(token)


def remaining_of_call_ms() -> float:
    """Time left of the call that is being made; infinite where nobody said (`call_within`)."""
    deadline = _OF_CALL.get()
    return math.inf if deadline is None else deadline.remaining_ms()
