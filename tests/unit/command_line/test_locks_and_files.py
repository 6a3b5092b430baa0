from __future__ import annotations

import os
import signal
import time

import pytest

from streamrec.command_line.files import write_json, write_text
from streamrec.command_line.interrupts import sigterm_interrupts
from streamrec.command_line.locks import only_run_in
from streamrec.contracts.errors import InvalidInputError, OverloadedError


def test_a_folder_takes_one_run_at_a_time(tmp_path):
    with only_run_in(tmp_path / "demo"):
        with pytest.raises(OverloadedError, match="another run"), only_run_in(tmp_path / "demo"):
            pytest.fail("must not be entered")
        with only_run_in(tmp_path / "other"):
            pass
    with only_run_in(tmp_path / "demo"):
        pass


def test_json_is_strict_and_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "summary.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert [file.name for file in path.parent.iterdir()] == ["summary.json"]


def test_a_file_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInputError, match="cannot be written"):
        write_text(tmp_path / "file" / "below", "y")


def test_sigterm_interrupts_inside_and_is_what_it_was_outside():
    def work():
        with sigterm_interrupts():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        work()
    assert signal.getsignal(signal.SIGTERM) is before
