"""Limits of a process that are set in it: tried in one of its own."""

from __future__ import annotations

import subprocess
import sys

MEBIBYTE = 1024 * 1024
LIMIT_BYTES = 64 * MEBIBYTE
PROGRAM = f"""
from pathlib import Path
import threading
from streamrec.serving.process_limits import be_ended_first, limit_memory
assert limit_memory({LIMIT_BYTES})
kept = bytearray({LIMIT_BYTES // 2})
try:
    bytearray({2 * LIMIT_BYTES})
except MemoryError:
    print("refused")
thread = threading.Thread(target=print, args=("lives",))
thread.start()
thread.join()
assert be_ended_first()
print(Path("/proc/self/oom_score_adj").read_text().strip())
"""


def test_what_is_beyond_the_limit_fails_and_the_process_lives():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["refused", "lives", "1000"]
