"""Watching a rollout: a picture that is drawn again and again on a terminal, one line a change in a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from services.cli.rollouts.seen import SeenRollout, SeenTransition, is_champion
from services.cli.rollouts.shown import (
    finding_line,
    head_lines,
    missing_lines,
    picture,
    transition_line,
)
from streamrec.contracts.errors import TemporaryError
from streamrec.contracts.results import Verdict
from streamrec.rollout.analysis import Finding

if TYPE_CHECKING:
    from rich.console import Console

LOOK_EVERY_S: Final = 1.0
PATIENCE_S: Final = 600.0
"""A control plane that does not answer for so long is not waited for any more."""

_SHOWN_TRANSITIONS: Final = 8


class Control(Protocol):
    """What is asked of the control plane; see `ControlPlaneClient`."""

    @property
    def drive(self) -> Callable[[], None]:
        """Lets rollouts go on where nobody else drives them."""
        ...

    def look(self, name: str) -> Mapping[str, Any]:
        """State, evidence and analysis."""
        ...

    def history(self, name: str, after_seq: int = 0) -> Sequence[Mapping[str, Any]]:
        """Transitions beyond an entry."""
        ...


class Screen(Protocol):
    """Where a rollout is shown."""

    def show(self, seen: SeenRollout, new: Sequence[SeenTransition]) -> None:
        """Show how it is, and what has happened since."""
        ...

    def trouble(self, problem: str) -> None:
        """Say that the control plane does not answer."""
        ...


class LineScreen:
    """One line a change: for pipes and logs. What only moves on is not said again."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._began = False
        self._waits: frozenset[tuple[str, str]] = frozenset()
        self._verdicts: dict[tuple[str, str], Verdict] = {}
        self._missing: list[str] = []
        self._problem = ""

    def show(self, seen: SeenRollout, new: Sequence[SeenTransition]) -> None:
        """See `Screen.show`."""
        self._problem = ""
        if not self._began:
            self._began = True
            for line in head_lines(seen.state):
                self._write(line)
            self._waits = _waits(seen)
        for one in new:
            self._write(transition_line(one))
        waits = _waits(seen)
        if waits - self._waits:
            for reason in seen.state.waits_for:
                if (reason.code, reason.path) not in self._waits:
                    self._write(f"  waits: {reason.message}")
        self._waits = waits
        for found in () if seen.analysis is None else seen.analysis.findings:
            self._say_if_decided(found)
        missing = missing_lines(seen)
        for line in missing:
            if line not in self._missing:
                self._write(f"  {line}")
        self._missing = missing

    def trouble(self, problem: str) -> None:
        """See `Screen.trouble`."""
        if problem != self._problem:
            self._write(f"no answer, trying again: {problem}")
        self._problem = problem

    def _say_if_decided(self, found: Finding) -> None:
        key = (found.slot, found.criterion.value)
        before = self._verdicts.get(key, Verdict.INCONCLUSIVE)
        self._verdicts[key] = found.verdict
        if found.verdict is not before:
            self._write(f"  {finding_line(found)}")


class TerminalScreen:
    """The whole picture, drawn again in place."""

    def __init__(self, update: Callable[[Any], None], *, clock: Callable[[], datetime]) -> None:
        self._update, self._clock = update, clock
        self._history: list[str] = []

    def show(self, seen: SeenRollout, new: Sequence[SeenTransition]) -> None:
        """See `Screen.show`."""
        self._history += [transition_line(one) for one in new]
        del self._history[:-_SHOWN_TRANSITIONS]
        end = f"seen {self._clock():%H:%M:%S}Z; Ctrl-C ends the watching, not the rollout"
        self._update(picture(seen, [*self._history, end]))

    def trouble(self, problem: str) -> None:
        """See `Screen.trouble`."""
        self._update(f"no answer, trying again: {problem}")


@contextmanager
def screen_for(console: Console) -> Iterator[Screen]:
    """The screen that fits where output goes."""
    if not console.is_terminal:

        def write(line: str) -> None:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            console.file.flush()  # whoever reads the pipe must not wait for a buffer to be full

        yield LineScreen(write)
        return
    from rich.live import Live

    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        yield TerminalScreen(
            lambda content: live.update(content, refresh=True), clock=lambda: datetime.now(UTC)
        )


def watch(
    control: Control,
    name: str,
    screen: Screen,
    *,
    until_champion: bool = False,
    every_s: float = LOOK_EVERY_S,
    clock_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[SeenRollout, SeenTransition | None]:
    """Show a rollout until it is over; what it is then, and its last transition.

    A control plane that is being started again is waited for.

    Args:
        control: Whom to ask.
        name: Of the rollout.
        screen: Where to show it.
        until_champion: Until its versions are champions; being watched is for others then.
        every_s: Seconds between two looks.
        clock_s: Seconds since some moment.
        sleep: Waits.

    Raises:
        NotFoundError: There is no such rollout.
        TemporaryError: The control plane does not answer for `PATIENCE_S`.
    """
    after_seq = 0
    last: SeenTransition | None = None
    answered_s = clock_s()
    while True:
        try:
            control.drive()
            seen = SeenRollout.from_json(control.look(name))
            # Asked after the look: a transition in between is shown now, and the look is newer next time.
            new = [SeenTransition.from_json(item) for item in control.history(name, after_seq)]
        except TemporaryError as error:
            if clock_s() - answered_s > PATIENCE_S:
                raise
            screen.trouble(str(error))
        else:
            answered_s = clock_s()
            if new:
                after_seq, last = new[-1].seq, new[-1]
            screen.show(seen, new)
            if seen.state.phase.is_over or (until_champion and is_champion(seen.state)):
                return seen, last
        sleep(every_s)


def _waits(seen: SeenRollout) -> frozenset[tuple[str, str]]:
    return frozenset((reason.code, reason.path) for reason in seen.state.waits_for)
