"""The runner of gate programs, and its twin that isolates nothing: the same task ends the same way."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.gates.isolation.in_process_runner import InProcessRunner
from streamrec.gates.isolation.subprocess_runner import SubprocessRunner
from streamrec.gates.runner import GateTask, TaskEnd

PROGRAMS = """
def answers(arguments, inputs, output):
    (output / "copy").write_text(inputs["given"].read_text())
    return {"doubled": 2 * arguments["number"]}

def answers_nothing(arguments, inputs, output):
    return None

def answers_nan(arguments, inputs, output):
    return {"value": float("nan")}

def raises(arguments, inputs, output):
    raise ValueError("not there")

def is_refused(arguments, inputs, output):
    raise PermissionError("not allowed")

def needs_memory(arguments, inputs, output):
    raise MemoryError
"""


@pytest.fixture(params=[SubprocessRunner, InProcessRunner])
def runner(request, monkeypatch, tmp_path):
    (tmp_path / "contract_programs.py").write_text(PROGRAMS)
    monkeypatch.syspath_prepend(tmp_path)
    return request.param()


@pytest.fixture
def task(tmp_path):
    (tmp_path / "given").write_text("given")

    def make(function, *, program=None, inputs=None, arguments=None):
        output = tmp_path / "output"
        output.mkdir()
        return GateTask(
            program or f"contract_programs:{function}",
            {"number": 21} if arguments is None else arguments,
            inputs or {"given": tmp_path / "given"},
            output,
            import_paths=(tmp_path,),
        )

    return make


def test_a_program_reads_writes_and_answers(runner, task):
    made = task("answers")
    result = runner.run(made)
    assert (result.end, result.problem) == (TaskEnd.COMPLETED, "")
    assert result.answer == {"doubled": 42}
    assert (made.output / "copy").read_text() == "given"
    assert result.wall_s > 0


def test_no_answer_is_an_empty_one(runner, task):
    result = runner.run(task("answers_nothing"))
    assert result.completed
    assert result.answer == {}


@pytest.mark.parametrize(
    ("function", "end"),
    [
        ("raises", TaskEnd.RAISED),
        ("answers_nan", TaskEnd.RAISED),
        ("does_not_exist", TaskEnd.RAISED),
        ("is_refused", TaskEnd.REFUSED),
        ("needs_memory", TaskEnd.MEMORY_EXCEEDED),
    ],
)
def test_how_it_ended_is_told(runner, task, function, end):
    result = runner.run(task(function))
    assert result.end is end
    assert result.problem
    assert result.answer == {}


def test_what_is_no_task_is_refused(runner, task, tmp_path):
    made = task("answers")
    (made.output / "left").write_text("")
    with pytest.raises(InvalidInputError, match="empty folder"):
        runner.run(made)
    (made.output / "left").unlink()
    made.output.rmdir()
    with pytest.raises(InvalidInputError, match="module:function"):
        runner.run(task("", program="os.system"))
    (tmp_path / "output").rmdir()
    with pytest.raises(InvalidInputError, match=r"inputs\.given"):
        runner.run(task("answers", inputs={"given": Path("/nowhere")}))
    (tmp_path / "output").rmdir()
    with pytest.raises(InvalidInputError, match="finite"):
        runner.run(task("answers", arguments={"number": float("nan")}))
