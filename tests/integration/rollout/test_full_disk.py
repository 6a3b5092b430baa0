"""A full disk holds a rollout and nothing else: what served before serves, and with room it goes on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ON_A_SMALL_DISK = """
import os, subprocess, sys
from pathlib import Path

from streamrec.contracts.errors import TemporaryError
from streamrec.contracts.models import ModelRef
from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.ledger.served import served
from streamrec.ledger.sql_ledger import SqlLedger
from streamrec.ledger.verification import verify
from tests.rolled_out import NOON, OPS, RANKING, Platform

disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(disk)], check=True)
platform = Platform(disk, ledger=SqlLedger.in_file(disk / "ledger.sqlite", clock=lambda: NOON))
first = platform.register("ranking")
platform.writer.promote([first], actor="ana")
platform.replicas_of("ranking")
second = platform.register("ranking")
state = platform.controller.promote([second], OPS)
said = set()
for left in (0, 0, 4_096, 8_192, 16_384, 32_768):
    (disk / "other").unlink(missing_ok=True)
    free = os.statvfs(disk)
    (disk / "other").write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - left)))
    report = platform.pass_time(1.0)
    said.update(report.problems)
    # A replica that is asked answers, by what the document said last.
    assert platform.replicas[0].champion == platform.serving()[RANKING]
    if platform.serving() == {RANKING: second}:
        break
assert any("cannot be written" in problem for problem in said), said
print(*said, sep="\\n")
(disk / "other").unlink()
for _ in range(5):
    report = platform.pass_time(1.0)
assert report.problems == (), report.problems
assert platform.serving() == {RANKING: second}
assert platform.controller.book.get(state.rollout).phase is RolloutPhase.WATCH
assert served(platform.ledger, RANKING, platform.now).version == second
assert verify(platform.ledger.stored()).bad is None
"""


def test_a_full_disk_holds_a_rollout_and_never_serving(tmp_path):
    apart = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("needs a mount namespace of its own (unshare), which is not allowed here")
    (tmp_path / "disk").mkdir()
    done = subprocess.run(
        [*apart, sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path / "disk")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert done.returncode == 0, done.stdout + done.stderr
