"""Run the two long parts of the tests beside each other: those that start a Ray cluster, and the others.

Tests on a cluster wait most of the time, and what they wait for has a time limit. So the others compute
meanwhile, and give way: they run at a lower priority. What the cluster's tests say goes to a file and is
printed when both parts are over.

python tests/run_long_parts.py FOLDER, which takes other.xml, ray.xml and ray.log
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

# With `loadfile` a worker takes a whole file at a time, in this order: those that take minutes come first, so
# that no worker is left with one of them at the end.
FOLDERS = ("tests/simulation", "tests/integration", "tests/contract")
OTHERS = ("--numprocesses", "auto", "--dist", "loadfile", "--no-loadscope-reorder", "--timeout", "900")
GIVE_WAY = 10
"""The nice value of the others, which is also why one of their tests may take longer."""


def main(folder: Path) -> int:
    """Run both parts to their end; 0 where both passed, else what the first that failed returned."""
    pytest = [sys.executable, "-m", "pytest"]
    folder.mkdir(parents=True, exist_ok=True)
    log_path = folder / "ray.log"
    with log_path.open("wb") as log:
        on_ray = subprocess.Popen(
            [*pytest, f"--junit-xml={folder / 'ray.xml'}", "-m", "ray", *FOLDERS],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    others = subprocess.Popen(
        [*pytest, f"--junit-xml={folder / 'other.xml'}", *OTHERS, "-m", "not ray", *FOLDERS],
        preexec_fn=lambda: os.nice(GIVE_WAY),
    )
    try:
        codes = [others.wait()]
        sys.stdout.write(f"The tests on a Ray cluster go on; what they say: {log_path}\n")
        sys.stdout.flush()
        codes.append(on_ray.wait())
    except KeyboardInterrupt:  # both have heard it too: they end their servers and say what they had
        for part in (others, on_ray):
            part.wait()
        return 128 + signal.SIGINT
    finally:
        sys.stdout.write(log_path.read_text(errors="replace"))
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
