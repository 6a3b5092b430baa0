from __future__ import annotations

import subprocess
import sys

import pytest

from streamrec.contracts.errors import OverloadedError
from streamrec.files.locks import only_holder, try_lock, wait_for_lock

HOLDS_UNTIL_KILLED = """
import sys
from pathlib import Path
from streamrec.files.locks import only_holder
with only_holder(Path(sys.argv[1]), "held"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_refused_at_once_and_in_words(tmp_path):
    path = tmp_path / "lock"
    with (
        only_holder(path, "not this message"),
        pytest.raises(OverloadedError, match="another run is under way"),
        only_holder(path, "another run is under way"),
    ):
        pytest.fail("must not be entered")
    with only_holder(path, "another run is under way"):
        pass
    assert path.exists()


def test_an_error_in_the_body_lets_go_of_the_lock(tmp_path):
    with pytest.raises(RuntimeError), only_holder(tmp_path / "lock", "held"):
        raise RuntimeError
    with only_holder(tmp_path / "lock", "held"):
        pass


def test_a_killed_holder_lets_go(tmp_path):
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS_UNTIL_KILLED, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(OverloadedError, match="held"), only_holder(path, "held"):
            pytest.fail("must not be entered")
        holder.kill()
        holder.wait()
    with only_holder(path, "held"):
        pass


def test_a_lock_on_an_open_file_leaves_its_content_and_ends_when_it_is_closed(tmp_path):
    path = tmp_path / "segment"
    path.write_bytes(b"records")
    with path.open("rb") as first, path.open("rb") as second:
        assert try_lock(first.fileno())
        assert not try_lock(second.fileno())
        first.close()
        wait_for_lock(second.fileno())
    assert path.read_bytes() == b"records"
