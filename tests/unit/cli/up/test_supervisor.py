"""The supervisor over processes that do what the test says, at times that the test says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.cli.up.part_process import LOG_LIMIT_BYTES, Readiness, bound_log
from services.cli.up.parts import Part
from services.cli.up.supervisor import Supervisor


def a_part(name: str, port: int = 8000) -> Part:
    return Part(name, ("program",), "127.0.0.1", port, "/readyz", "does something", stop_patience_s=2.0)


@dataclass
class FakeProcess:
    part: Part
    pid: int
    status: int | None = None
    says: Readiness = field(default_factory=lambda: Readiness(False))
    ends_when_asked: bool = True
    asked: int = 0
    killed: int = 0

    def exit_status(self):
        return self.status

    def readiness(self):
        return self.says

    def ask_to_end(self):
        self.asked += 1
        if self.ends_when_asked:
            self.status = 0

    def kill(self):
        self.killed += 1
        if self.status is None:
            self.status = -9

    def last_words(self):
        return "ValueError: no"


class Stage:
    """A supervisor, a clock that only the test moves, and what was said."""

    def __init__(self, tmp_path: Path, *names: str):
        self.now_s, self.said, self.started = 0.0, [], []
        self.fails: list[OSError] = []
        parts = [a_part(name, 8000 + number) for number, name in enumerate(names)]
        self.supervisor = Supervisor(
            parts,
            tmp_path,
            lambda part, what: self.said.append(f"{part.name} {what}"),
            start=self.start,
            clock_s=lambda: self.now_s,
            sleep=self.sleep,
        )

    def start(self, part: Part, _log: Path):
        if self.fails:
            raise self.fails.pop()
        self.started.append(FakeProcess(part, 100 + len(self.started)))
        return self.started[-1]

    def sleep(self, seconds: float):
        self.now_s += seconds

    def look_at(self, now_s: float):
        self.now_s = now_s
        self.supervisor.look()


def test_every_part_is_started_and_said_to_be_ready_once(tmp_path):
    stage = Stage(tmp_path, "one", "two")
    stage.look_at(0.0)
    assert stage.said == ["one starts on http://127.0.0.1:8000", "two starts on http://127.0.0.1:8001"]
    stage.started[0].says = Readiness(False, "no model serves")
    for now_s in (1.0, 2.0, 3.0):
        stage.look_at(now_s)
    assert stage.said[2:] == ["one waits: no model serves"]
    for process in stage.started:
        process.says = Readiness(True)
    assert not stage.supervisor.all_ready
    for now_s in (4.0, 10.0, 20.0):
        stage.look_at(now_s)
    assert stage.supervisor.all_ready
    assert stage.said[3:] == [
        "one is ready on http://127.0.0.1:8000 after 4.0 s",
        "two is ready on http://127.0.0.1:8001 after 4.0 s",
    ]


def test_a_part_that_dies_is_started_again_after_a_wait_and_the_others_go_on(tmp_path):
    stage = Stage(tmp_path, "one", "two")
    stage.look_at(0.0)
    stage.started[0].status = -9
    stage.look_at(5.0)
    assert stage.said[-1] == (
        f"one was killed by signal 9; its log {tmp_path / 'one.log'} ends with: ValueError: no. "
        "It is started again in 0.5 s"
    )
    assert stage.started[0].killed == 1, "what the dead part left behind would hold its port"
    stage.look_at(5.4)
    assert len(stage.started) == 2
    stage.look_at(5.6)
    assert stage.started[2].part.name == "one"
    assert stage.said[-1] == "one starts on http://127.0.0.1:8000, again"
    assert stage.started[1].status is None
    assert stage.supervisor.pids == {"one": 102, "two": 101}


def test_a_part_that_cannot_be_started_is_tried_again_more_and_more_slowly(tmp_path):
    stage = Stage(tmp_path, "one")
    stage.fails = [OSError("no such program")] * 3
    for _ in range(40):
        stage.look_at(stage.now_s + 0.1)
    waits = [line.rsplit(" in ", 1)[1] for line in stage.said if "cannot be started" in line]
    assert waits == ["0.5 s", "1 s", "2 s"]
    assert [process.part.name for process in stage.started] == ["one"]


def test_a_part_that_is_not_ready_any_more_is_said_to_be(tmp_path):
    stage = Stage(tmp_path, "one")
    stage.look_at(0.0)
    stage.started[0].says = Readiness(True)
    stage.look_at(1.0)
    stage.started[0].says = Readiness(False)
    stage.look_at(10.0)
    assert stage.said[-1] == "one is not ready any more: it does not answer"
    assert not stage.supervisor.all_ready


def test_at_the_end_all_are_asked_at_once_and_only_the_late_one_is_killed_while_it_runs(tmp_path):
    stage = Stage(tmp_path, "one", "two", "three")
    stage.look_at(0.0)
    stage.started[1].ends_when_asked = False
    looks = iter([False, False, True])
    stage.supervisor.run(lambda: next(looks))
    assert [process.asked for process in stage.started] == [1, 1, 1]
    assert [process.status for process in stage.started] == [0, -9, 0]
    assert stage.said[-1] == "two has not ended after 2 s: killed"
    assert stage.now_s < 4.0
    assert stage.supervisor.pids == {}


def test_parts_are_ended_also_when_the_supervisor_fails(tmp_path):
    stage = Stage(tmp_path, "one")
    stage.look_at(0.0)

    def stopping():
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        stage.supervisor.run(stopping)
    assert stage.started[0].status == 0


def test_a_long_log_is_moved_aside_and_its_writer_goes_on(tmp_path):
    log = tmp_path / "one.log"
    with log.open("ab") as written:
        written.write(b"first\n")
        written.flush()
        bound_log(log)
        assert log.read_bytes() == b"first\n"
        written.truncate(LOG_LIMIT_BYTES + 1)  # a hole: nothing is written to the disk
        bound_log(log)
        written.write(b"second\n")
    assert log.read_bytes() == b"second\n"
    assert (tmp_path / "one.log.1").stat().st_size == LOG_LIMIT_BYTES + 1
