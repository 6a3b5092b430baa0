"""`streamrec up` as a process: its parts die, it is asked to stop, it is killed, another one is started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from services.cli.demo.server import free_port

PATIENCE_S = 20.0
PROGRAM = Path(__file__).with_name("up_process.py")
READY = "everything is ready"


class Up:
    """The command in a process of its own, and all that it has said."""

    def __init__(self, workspace: Path, port: int):
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(workspace), str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=Path(__file__).resolve().parents[3],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"},
        )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self.lines.append(line.rstrip("\n"))

    def count(self, words: str) -> int:
        return sum(words in line for line in list(self.lines))

    def wait_for(self, words: str, times: int = 1):
        wait_until(lambda: self.count(words) >= times, lambda: f"{words!r} {times} times in {self.lines}")

    def parts(self) -> dict[int, psutil.Process]:
        """By port."""
        return {
            int(child.cmdline()[-1]): child
            for child in psutil.Process(self.process.pid).children()
            if child.status() != psutil.STATUS_ZOMBIE
        }

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE_S)
        self.reader.join(PATIENCE_S)
        return status


def wait_until(is_so: Callable[[], bool], what: Callable[[], str]):
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s, f"not within {PATIENCE_S} s: {what()}"
        time.sleep(0.02)


@pytest.fixture
def started():
    running: list[Up] = []

    def start(workspace: Path, port: int) -> Up:
        running.append(Up(workspace, port))
        return running[-1]

    yield start
    for up in running:
        if up.process.poll() is None:
            up.end(signal.SIGKILL)
        up.reader.join(PATIENCE_S)


def test_each_part_that_is_killed_comes_back_and_ctrl_c_leaves_nothing_behind(tmp_path, started):
    port = free_port()
    up = started(tmp_path, port)
    up.wait_for(READY)
    for number, (name, at) in enumerate((("one", port), ("two", port + 1)), start=1):
        other = {on: part.pid for on, part in up.parts().items() if on != at}
        up.parts()[at].kill()
        up.wait_for(f"{name} was killed by signal 9")
        up.wait_for(f"{name} is ready on http://127.0.0.1:{at}", times=2)
        assert {on: part.pid for on, part in up.parts().items() if on != at} == other
        assert up.count("again in 0.5 s") == number
    left = list(up.parts().values())
    assert len(left) == 2

    before_s = time.monotonic()
    assert up.end(signal.SIGINT) == 0
    assert time.monotonic() - before_s < 5.0
    assert up.lines[-2:] == ["stopping all parts", "all parts have ended"]
    assert not any(part.is_running() and part.status() != psutil.STATUS_ZOMBIE for part in left)
    assert (tmp_path / "up" / "one.log").read_text().count("listens") == 2

    again = started(tmp_path, port)
    again.wait_for(READY)
    assert again.end(signal.SIGTERM) == 0


def test_a_second_one_on_the_workspace_is_refused_and_a_killed_one_takes_its_parts_along(tmp_path, started):
    port = free_port()
    up = started(tmp_path, port)
    up.wait_for(READY)
    second = started(tmp_path, free_port())
    assert second.process.wait(PATIENCE_S) == 1
    second.reader.join(PATIENCE_S)
    (line,) = second.lines
    assert f"is up already, under the process {up.process.pid}: stop it with Ctrl-C there" in line

    elsewhere = started(tmp_path / "other", port)
    assert elsewhere.process.wait(PATIENCE_S) == 1
    elsewhere.reader.join(PATIENCE_S)
    assert f"127.0.0.1:{port}, for one, cannot be used: Address already in use" in elsewhere.lines[0]

    left = list(up.parts().values())
    assert len(left) == 2
    up.end(signal.SIGKILL)
    wait_until(lambda: not any(part.is_running() for part in left), lambda: f"the end of {left}")
