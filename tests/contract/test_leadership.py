"""One leads at a time, and another one as soon as that one is gone, however it went."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from streamrec.contracts.errors import DependencyError
from streamrec.rollout.leadership import FileLeadership, MemoryLead, MemoryLeadership


@pytest.fixture(params=["memory", "file"])
def candidates(request, tmp_path):
    lead = MemoryLead()
    path = tmp_path / "folder" / "controller.lock"
    return [MemoryLeadership(lead) if request.param == "memory" else FileLeadership(path) for _ in range(2)]


def test_one_leads_until_it_resigns(candidates):
    one, other = candidates
    assert one.try_lead()
    assert one.try_lead()
    assert not other.try_lead()
    other.resign()  # of what it does not have
    assert not other.try_lead()
    one.resign()
    assert other.try_lead()
    assert not one.try_lead()


def test_one_alone_leads():
    assert MemoryLeadership().try_lead()


LEADER = """
import os, sys, time
from pathlib import Path
from streamrec.rollout.leadership import FileLeadership

lead = FileLeadership(Path(sys.argv[1]))
assert lead.try_lead()
read, write = os.pipe()
child = os.fork() if sys.argv[2] == "forks" else None
if child == 0:
    os.write(write, b".")
else:
    if child is not None:
        os.read(read, 1)  # it has begun
    print(child, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["alone", "forks"])
def test_after_kill_9_another_one_leads_at_once_also_where_a_child_lives_on(tmp_path, kind):
    path = tmp_path / "controller.lock"
    with subprocess.Popen(
        [sys.executable, "-c", LEADER, str(path), kind], stdout=subprocess.PIPE, text=True
    ) as leader:
        child = leader.stdout.readline().strip()
        here = FileLeadership(path)
        try:
            assert not here.try_lead()
        finally:
            leader.send_signal(signal.SIGKILL)
            leader.wait()
        try:
            assert here.try_lead()
        finally:
            if kind == "forks":
                os.kill(int(child), signal.SIGKILL)


def test_a_lock_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "controller.lock").mkdir()
    with pytest.raises(DependencyError, match=r"controller\.lock cannot be opened"):
        FileLeadership(tmp_path / "controller.lock").try_lead()
