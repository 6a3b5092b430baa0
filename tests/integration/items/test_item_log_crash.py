"""A writer that is killed for real, again and again, beside a follower that reads without pause."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamrec.contracts.items import Item
from streamrec.items.follower import ItemFollower, read_history, read_state
from streamrec.items.item_log import FileItemLog

REPOSITORY = Path(__file__).resolve().parents[3]
PROGRAM = Path(__file__).with_name("append_process.py")

pytestmark = pytest.mark.timeout(120)


def test_nothing_acknowledged_is_lost_and_nothing_is_seen_twice_when_writers_are_killed(tmp_path):
    rng = random.Random(5)
    folder = tmp_path / "items"
    environment = dict(
        os.environ, PYTHONPATH=os.pathsep.join([str(REPOSITORY / "platform"), str(REPOSITORY)])
    )
    follower, acknowledged = ItemFollower(folder), 0
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, str(PROGRAM), str(folder)], stdout=subprocess.PIPE, text=True, env=environment
        ) as writer:
            for _ in range(rng.randrange(3, 15)):
                acknowledged = int(writer.stdout.readline())
                follower.refresh()
                assert follower.problem == ""
                assert follower.current.revision >= acknowledged
            time.sleep(rng.random() * 0.02)
            writer.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
        follower.refresh()
        state = read_state(folder)
        assert follower.current == state
        assert state.revision >= acknowledged
        assert state.revision % 2 == 0  # both entries of an append, or none
        assert [entry.revision for entry in read_history(folder)] == list(range(1, state.revision + 1))
        # Who comes next goes on from there.
        assert FileItemLog(folder).append([Item("a"), Item("b")])[-1].revision == state.revision + 2
