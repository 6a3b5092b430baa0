"""How long `streamrec models audit` takes, and how much memory: Adult, German credit, and ten million rows.

python tests/benchmarks/benchmark_audit.py [ROWS]; real data as for the tests, left out where there is none.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
STREAMREC = Path(sys.executable).parent / "streamrec"
REAL = Path(os.environ.get("STREAMREC_DATA", ROOT / ".." / "shared" / "data"))
SOURCES = {
    "adult": ("adult.data", ",", 14, (9, 8), lambda cell: cell.startswith(">50K"), 4),
    "german-credit": ("german.data", None, 20, (8, 19), lambda cell: cell == "1", 1),
}
"""File, separator, column of the label, of two groups, what a yes is, column that scores are made of."""


def write_real(name: str, path: Path) -> int:
    file, separator, label, groups, is_yes, scored = SOURCES[name]
    rows = [
        [cell.strip() for cell in line.split(separator)]
        for line in (REAL / name / file).read_text().splitlines()
        if len(line.split(separator)) > label
    ]
    numbers = np.array([float(row[scored]) for row in rows])
    scores = numbers.argsort().argsort() / len(numbers)
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["label", "score", "a", "b"])
        for row, score in zip(rows, scores.tolist(), strict=True):
            writer.writerow([int(is_yes(row[label])), round(score, 6), *(row[group] for group in groups)])
    return len(rows)


def write_made(rows: int, path: Path) -> int:
    rng = np.random.default_rng(1)
    with path.open("w") as out:
        out.write("label,score,a,b\n")
        for start in range(0, rows, 500_000):
            count = min(500_000, rows - start)
            labels, scores = rng.integers(0, 2, count), rng.integers(0, 1_000, count)
            groups = rng.integers(0, 5, (2, count))
            lines = zip(labels.tolist(), scores.tolist(), *groups.tolist(), strict=True)
            out.writelines(f"{label},0.{score:03d},g{a},h{b}\n" for label, score, a, b in lines)
    return rows


def measured(path: Path) -> tuple[float, float]:
    """Seconds, and the largest resident memory in MiB."""
    command = [STREAMREC, "models", "audit", "--predictions", path, "--label", "label", "--score", "score"]
    began = time.monotonic()
    process = subprocess.Popen([*map(str, command), "--groups", "a,b"], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 3, 4)
    return time.monotonic() - began, usage.ru_maxrss / 1024


def main(rows: int) -> None:
    print(f"{'file':<16}{'rows':>12}{'seconds':>10}{'MiB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.csv"
        for name in (*SOURCES, "made"):
            if name != "made" and not (REAL / name).is_dir():
                print(f"{name:<16}{'no data':>12}")
                continue
            count = write_made(rows, path) if name == "made" else write_real(name, path)
            seconds, memory = measured(path)
            print(f"{name:<16}{count:>12,}{seconds:>10.1f}{memory:>8.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000)
