"""The phases of a run: said aloud as they begin, timed as they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape


@dataclass(frozen=True, slots=True)
class Phase:
    """One finished phase."""

    name: str
    seconds: float


class PhaseClock:
    """Announces and times phases."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._started = clock()
        self._finished: list[Phase] = []

    @property
    def finished(self) -> tuple[Phase, ...]:
        """Phases that ended without an error, in order."""
        return tuple(self._finished)

    @property
    def total_s(self) -> float:
        """Seconds since the clock was made."""
        return self._clock() - self._started

    @contextmanager
    def phase(self, name: str, description: str) -> Iterator[None]:
        """Time the body; a phase that fails is not among the finished ones."""
        self._console.print(f"[bold]{escape(name)}[/bold] {escape(description)}", highlight=False)
        started = self._clock()
        yield
        seconds = self._clock() - started
        self._finished.append(Phase(name, seconds))
        self._console.print(f"  [dim]{seconds:.1f} s, {self.total_s:.0f} s in all[/dim]", highlight=False)
