"""Keeps parts running until it is asked to stop, and says what happens to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from services.cli.up.back_off import BackOff
from services.cli.up.part_process import PartProcess, Readiness, bound_log
from services.cli.up.parts import Part

POLL_S: Final = 0.2
_ASK_EVERY_S: Final = 0.5
_ASK_READY_ONES_EVERY_S: Final = 5.0


class RunningPart(Protocol):
    """What is asked of a part's process; see `PartProcess`."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    def exit_status(self) -> int | None:
        """How it has ended; None while it runs."""
        ...

    def readiness(self) -> Readiness:
        """What it says of itself."""
        ...

    def ask_to_end(self) -> None:
        """Ask it to end in order."""
        ...

    def kill(self) -> None:
        """End what is left of it."""
        ...

    def last_words(self) -> str:
        """The last line that it wrote."""
        ...


@dataclass
class _Kept:
    part: Part
    log: Path
    back_off: BackOff = field(default_factory=BackOff)
    process: RunningPart | None = None
    started_s: float = 0.0
    starts_at_s: float = 0.0
    asks_at_s: float = 0.0
    said: str = ""
    ready: bool = False


class Supervisor:
    """Starts every part, starts those again that end, and ends all of them. For one thread."""

    def __init__(
        self,
        parts: Sequence[Part],
        logs: Path,
        say: Callable[[Part, str], None],
        *,
        start: Callable[[Part, Path], RunningPart] = PartProcess,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Nothing is started yet.

        Args:
            parts: What to keep running.
            logs: Folder of one log a part; exists.
            say: Hears, for people, what happens to a part.
            start: Starts the process of a part that writes into a log.
            clock_s: Seconds since some moment.
            sleep: Waits.
        """
        self._kept = [_Kept(part, logs / f"{part.name}.log") for part in parts]
        self._say, self._start, self._clock_s, self._sleep = say, start, clock_s, sleep

    @property
    def all_ready(self) -> bool:
        """Whether every part does what it is there for."""
        return all(kept.ready for kept in self._kept)

    @property
    def pids(self) -> dict[str, int]:
        """Number of the process of each part that runs, by name."""
        return {kept.part.name: kept.process.pid for kept in self._kept if kept.process is not None}

    def look(self) -> None:
        """Look at every part once: start what is to be started, and say what has changed."""
        for kept in self._kept:
            if kept.process is None:
                if self._clock_s() >= kept.starts_at_s:
                    self._begin(kept)
            elif (status := kept.process.exit_status()) is not None:
                self._ended(kept, kept.process, status)
            else:
                self._ask(kept, kept.process)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Keep the parts running until ``stopping`` says so, then end all of them, whatever happens."""
        try:
            while not stopping():
                self.look()
                self._sleep(POLL_S)
        finally:
            self.end()

    def end(self) -> None:
        """Ask every part to end, all at once, and kill what has not done so in its time."""
        running = [(kept, kept.process) for kept in self._kept if kept.process is not None]
        asked_s = self._clock_s()
        for _, process in running:
            process.ask_to_end()
        waiting = running
        try:
            while waiting:
                waiting = [(kept, process) for kept, process in waiting if process.exit_status() is None]
                late = [
                    (kept, process)
                    for kept, process in waiting
                    if self._clock_s() - asked_s > kept.part.stop_patience_s
                ]
                for kept, process in late:
                    self._say(kept.part, f"has not ended after {kept.part.stop_patience_s:g} s: killed")
                    process.kill()
                if waiting:
                    self._sleep(POLL_S / 4.0)
        finally:
            for kept, process in running:
                process.kill()
                kept.process, kept.ready = None, False

    def _begin(self, kept: _Kept) -> None:
        kept.started_s = self._clock_s()
        try:
            kept.process = self._start(kept.part, kept.log)
        except OSError as error:
            self._try_again(kept, f"cannot be started: {error}")
            return
        kept.ready, kept.said, kept.asks_at_s = False, "", kept.started_s
        again = ", again" if kept.back_off.deaths else ""
        self._say(kept.part, f"starts on {kept.part.url}{again}")

    def _ended(self, kept: _Kept, process: RunningPart, status: int) -> None:
        process.kill()  # what it has left behind would hold its port
        kept.process, kept.ready = None, False
        how = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
        words = process.last_words()
        self._try_again(kept, f"{how}; its log {kept.log} ends with: {words}" if words else how)

    def _try_again(self, kept: _Kept, problem: str) -> None:
        now_s = self._clock_s()
        delay_s = kept.back_off.delay_s(now_s - kept.started_s)
        kept.starts_at_s = now_s + delay_s
        self._say(kept.part, f"{problem}. It is started again in {delay_s:g} s")

    def _ask(self, kept: _Kept, process: RunningPart) -> None:
        now_s = self._clock_s()
        if now_s < kept.asks_at_s:
            return
        bound_log(kept.log)
        found = process.readiness()
        kept.asks_at_s = now_s + (_ASK_READY_ONES_EVERY_S if found.ready else _ASK_EVERY_S)
        if found.ready and not kept.ready:
            self._say(kept.part, f"is ready on {kept.part.url} after {now_s - kept.started_s:.1f} s")
        elif kept.ready and not found.ready:
            self._say(kept.part, f"is not ready any more: {found.missing or 'it does not answer'}")
        elif not found.ready and found.missing and found.missing != kept.said:
            self._say(kept.part, f"waits: {found.missing}")
        kept.said = found.missing
        kept.ready = found.ready
