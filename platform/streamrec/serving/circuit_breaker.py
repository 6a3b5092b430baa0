"""A circuit breaker: stop calling what does not answer, and try again now and then."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from threading import Lock
from typing import Final

from streamrec.contracts.errors import DependencyError, TemporaryError

_FAILING_SHARE: Final = 0.9


class CircuitState(StrEnum):
    """What a breaker does with the next call."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """Refuses calls to a dependency that has stopped answering.

    It opens when, of the last ``judged_calls``, at least ``failure_threshold`` failed and nine in ten of
    those that were made. By default both numbers are the same: that many failures one after the other. Where
    several replicas stand behind one name and one of them fails, most calls still succeed, but five failures
    in a row come by chance (with half of the calls failing, every 62 calls): judge more calls there.

    After ``open_for_ms`` one call is let through as a probe: its success closes the circuit, its failure
    opens it again. A probe that never reports counts as lost after another ``open_for_ms``. Results of
    calls that began before the last change of state are ignored. Safe to use from several threads.
    """

    def __init__(
        self,
        dependency: str,
        *,
        failure_threshold: int = 5,
        judged_calls: int | None = None,
        open_for_ms: float = 1000.0,
        failures: tuple[type[BaseException], ...] = (TemporaryError, TimeoutError, OSError),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if failure_threshold < 1 or not open_for_ms > 0.0:
            raise ValueError("a breaker needs a threshold of one failure or more and a time above zero")
        judged_calls = failure_threshold if judged_calls is None else judged_calls
        if judged_calls < failure_threshold:
            raise ValueError("so many failures cannot be among fewer calls")
        self._dependency = dependency
        self._failure_threshold = failure_threshold
        self._open_for_s = open_for_ms / 1000.0
        self._failures = failures
        self._clock = clock
        self._lock = Lock()
        self._state = CircuitState.CLOSED
        self._generation = 0
        self._failed: deque[bool] = deque(maxlen=judged_calls)
        self._changed_at_s = clock()

    @property
    def state(self) -> CircuitState:
        """The state as of the last call."""
        with self._lock:
            return self._state

    @contextmanager
    def guard(self, *, excused: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
        """Surround a call of the dependency; works around an ``await`` too.

        An exception of one of the ``failures`` types counts as a failure; any other ``Exception`` is an
        answer of the dependency and counts as a success. A cancelled call counts as neither, nor does one
        that raises one of the ``excused`` types: the caller knows that it says nothing of the dependency.

        Raises:
            DependencyError: The circuit is open; the dependency was not called.
        """
        generation = self._admit()
        try:
            yield
        except excused:
            self._abandon(generation)
            raise
        except self._failures:
            self._record(generation, succeeded=False)
            raise
        except Exception:
            self._record(generation, succeeded=True)
            raise
        except BaseException:
            self._abandon(generation)
            raise
        self._record(generation, succeeded=True)

    def _admit(self) -> int:
        with self._lock:
            if self._state is not CircuitState.CLOSED:
                waited_s = self._clock() - self._changed_at_s
                if waited_s < self._open_for_s:
                    raise DependencyError(
                        f"{self._dependency} is not called: the circuit is {self._state}; "
                        f"next attempt in {(self._open_for_s - waited_s) * 1000.0:.0f} ms"
                    )
                self._change(CircuitState.HALF_OPEN)
            return self._generation

    def _record(self, generation: int, *, succeeded: bool) -> None:
        with self._lock:
            if generation != self._generation:
                return
            if succeeded and self._state is not CircuitState.CLOSED:
                self._change(CircuitState.CLOSED)
            self._failed.append(not succeeded)
            if succeeded:
                return
            if self._state is CircuitState.HALF_OPEN or self._has_stopped_answering():
                self._change(CircuitState.OPEN)

    def _has_stopped_answering(self) -> bool:
        failures = sum(self._failed)
        return failures >= max(self._failure_threshold, _FAILING_SHARE * len(self._failed))

    def _abandon(self, generation: int) -> None:
        """Give the place of a cancelled probe to the next call."""
        with self._lock:
            if generation == self._generation and self._state is CircuitState.HALF_OPEN:
                self._changed_at_s = self._clock() - self._open_for_s

    def _change(self, state: CircuitState) -> None:
        self._state = state
        self._generation += 1
        self._failed.clear()
        self._changed_at_s = self._clock()
