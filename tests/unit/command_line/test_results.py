from __future__ import annotations

import json

import pytest
import typer

from streamrec.command_line.results import finish, verdict_line
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.results import Reason, Result, Verdict

SCHEMA = "streamrec.evaluation.v1"


def reasons(count):
    return tuple(Reason("bar_missed", f"bars.{n}", f"bar {n} is missed") for n in range(count))


def test_the_verdict_is_the_last_line_however_long_it_is(capsys, tmp_path):
    path = tmp_path / "new" / "figures.json"
    result = Result(SCHEMA, Verdict.FAILED, reasons(9), {"models": {}})
    with pytest.raises(typer.Exit) as end:
        finish(result, path)
    assert end.value.exit_code == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"Figures in {path}", "failed: " + "; ".join(f"bar {n} is missed" for n in range(9))]
    assert json.loads(path.read_text()) == result.to_json()


@pytest.mark.parametrize(("verdict", "status"), [(Verdict.INCONCLUSIVE, 4), (Verdict.ERROR, 1)])
def test_a_command_ends_with_the_exit_status_of_its_verdict(verdict, status, capsys):
    with pytest.raises(typer.Exit) as end:
        finish(Result(SCHEMA, verdict, reasons(1)))
    assert end.value.exit_code == status
    assert capsys.readouterr().out == f"{verdict}: bar 0 is missed\n"


def test_a_passed_command_goes_on_and_says_what_else_was_found(capsys):
    finish(Result(SCHEMA, Verdict.PASSED))
    finish(Result(SCHEMA, Verdict.PASSED, (Reason("quarantined", "files.0", "2 of 9 rows [red]"),)))
    assert capsys.readouterr().out == "passed\npassed: 2 of 9 rows [red]\n"


def test_many_reasons_are_counted():
    line = verdict_line(Result(SCHEMA, Verdict.FAILED, reasons(13)))
    assert line.endswith("bar 9 is missed; and 3 more")


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match="cannot be written"):
        finish(Result(SCHEMA, Verdict.PASSED), tmp_path / "file" / "figures.json")
