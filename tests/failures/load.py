"""Load on a service while a test breaks it, and what became of the requests."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.failures.open_loop_client import Answer, Plan

PROGRAM = Path(__file__).with_name("open_loop_client.py")


class Load:
    """A client in its own process."""

    def __init__(
        self,
        url: str,
        folder: Path,
        users: Sequence[str],
        *,
        rps: float = 30.0,
        new_share: float = 0.25,
        deadline_ms: float | None = None,
        other_port: int | None = None,
    ) -> None:
        address = httpx.URL(url)
        number = next(number for number in itertools.count() if not (folder / f"load-{number}").exists())
        own = folder / f"load-{number}"
        own.mkdir()
        self._answers = own / "answers.jsonl"
        plan = Plan(
            address.host,
            address.port or 80,
            rps,
            seed=20260501 + number,
            users=tuple(users),
            answers=str(self._answers),
            other_port=other_port,
            new_share=new_share,
            deadline_ms=deadline_ms,
        )
        (own / "plan.json").write_text(json.dumps(asdict(plan)))
        self.started_s = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(own / "plan.json")], stdin=subprocess.PIPE
        )

    def so_far(self) -> Answers:
        """What has been answered by now, as far as it is written."""
        lines = self._answers.read_text().splitlines(keepends=True) if self._answers.exists() else []
        return Answers([Answer(**json.loads(line)) for line in lines if line.endswith("\n")])

    def finish(self) -> Answers:
        """Ask no more, wait for what is under way, and return everything."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(30.0) == 0
        return self.so_far()

    def kill(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()


@contextmanager
def load_on(url: str, folder: Path, users: Sequence[str], **options: Any) -> Iterator[Load]:
    """Load that ends with the body, however it ends."""
    load = Load(url, folder, users, **options)
    try:
        yield load
    finally:
        load.kill()


class Answers:
    """Answers in the order in which their requests were planned."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.all = sorted(answers, key=lambda answer: answer.planned_s)

    def __len__(self) -> int:
        return len(self.all)

    def between(self, since_s: float, until_s: float = float("inf")) -> Answers:
        """Those that were planned in this time."""
        return Answers([answer for answer in self.all if since_s <= answer.planned_s < until_s])

    @property
    def failed(self) -> list[Answer]:
        """Those that are not OK, but for those that were refused: a busy machine has no room for all."""
        return [answer for answer in self.not_ok if not answer.refused]

    @property
    def not_ok(self) -> list[Answer]:
        return [answer for answer in self.all if not answer.ok]

    def degraded_share(self) -> float:
        return sum(answer.degraded for answer in self.all) / len(self.all)

    def percentile_ms(self, percent: float, *, of_all: bool = False) -> float:
        """Of the latency, in milliseconds: of those that are OK, unless told otherwise."""
        return float(
            np.percentile([answer.latency_ms for answer in self.all if answer.ok or of_all], percent)
        )

    def last(self, predicate: Callable[[Answer], bool]) -> Answer | None:
        """The last one of a kind."""
        return next((answer for answer in reversed(self.all) if predicate(answer)), None)

    def said(self) -> str:
        """A line for a person."""
        if not self.all:
            return "no answers"
        problems = sorted({f"{answer.status} {answer.problem}" for answer in self.not_ok})
        line = (
            f"{len(self)} answers, {len(self.not_ok)} not OK, {self.degraded_share():.1%} degraded, "
            f"p50 {self.percentile_ms(50):.0f} p99 {self.percentile_ms(99):.0f} ms"
        )
        return f"{line}; {'; '.join(problems[:5])}" if problems else line
