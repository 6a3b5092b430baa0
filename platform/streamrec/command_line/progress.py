"""Progress of long work: a bar where somebody watches, a line every few seconds where nobody does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

from streamrec.contracts.progress import Progress

LINE_INTERVAL_S: Final = 5.0
"""Seconds between two plain lines of the same piece of work."""


class BarProgress:
    """A bar on a terminal, with steps, time spent, time left and the latest note."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: RichProgress | None = None
        self._task = TaskID(0)

    def start(self, description: str, total: int) -> None:
        """Show a new bar; an unfinished one is ended first."""
        self.finish()
        self._bars = RichProgress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            console=self._console,
            refresh_per_second=5,
        )
        self._bars.start()
        self._task = self._bars.add_task(escape(description), total=total, note="")

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Move the bar; without a note the last one stays."""
        if self._bars is None:
            return
        if note:
            self._bars.update(self._task, advance=steps, note=escape(note))
        else:
            self._bars.update(self._task, advance=steps)

    def finish(self, note: str = "") -> None:
        """Leave the bar as it stands and give the terminal back."""
        if self._bars is None:
            return
        if note:
            self._bars.update(self._task, note=escape(note))
        self._bars.stop()
        self._bars = None


class LineProgress:
    """Plain lines for log files and pipes: one at the start, one every few seconds, one at the end."""

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        interval_s: float = LINE_INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._interval_s = interval_s
        self._clock = clock
        self._description: str | None = None
        self._total = 0
        self._done = 0
        self._note = ""
        self._started = 0.0
        self._written = 0.0

    def start(self, description: str, total: int) -> None:
        """Write that the work begins; an unfinished piece is ended first."""
        self.finish()
        self._description, self._total, self._done, self._note = description, total, 0, ""
        self._started = self._written = self._clock()
        self._write(f"  {description}: started, {total:,} steps")

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count the steps; write a line when the last one is old enough."""
        if self._description is None:
            return
        self._done += steps
        self._note = note or self._note
        now = self._clock()
        if now - self._written >= self._interval_s:
            self._written = now
            self._write(f"  {self._description}: {self._state(now)}")

    def finish(self, note: str = "") -> None:
        """Write that the work has ended, with its time."""
        if self._description is None:
            return
        self._note = note or self._note
        if self._done == 0:
            # Nothing had to be done, for example because a trained model was found.
            self._write(f"  {self._description}{': ' if self._note else ''}{self._note}")
        else:
            self._write(f"  {self._description}: ended, {self._state(self._clock())}")
        self._description = None

    def _state(self, now: float) -> str:
        share = f" ({self._done / self._total:.0%})" if self._total > 0 else ""
        note = f", {self._note}" if self._note else ""
        return f"{self._done:,} of {self._total:,}{share}, {now - self._started:.1f} s{note}"


@contextmanager
def shown_progress(console: Console) -> Iterator[Progress]:
    """Yield the progress display that fits ``console`` and end it however the work ends."""
    progress: BarProgress | LineProgress
    if console.is_terminal:
        progress = BarProgress(console)
    else:
        progress = LineProgress(
            lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)
        )
    try:
        yield progress
    finally:
        progress.finish()
