"""Reading text in small chunks gives the same rows as in one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from streamrec.datasets.importers.delimited import read_delimited
from streamrec.datasets.importers.repeated_rows import DuplicateRows, row_hashes, value_hashes


@pytest.mark.parametrize("chunk_bytes", [16, 37, 64, 1_000_000])
def test_chunks_keep_line_numbers(tmp_path: Path, chunk_bytes: int):
    path = tmp_path / "a.csv"
    good = [f"{row},{row * row}" for row in range(40)]
    lines = ["a,b", *good]
    lines[10], lines[33] = "broken", '"open,quote'
    path.write_text("\n".join(lines))
    chunks = list(read_delimited(path, ("b",), chunk_bytes=chunk_bytes))
    rows = {
        line: value for chunk in chunks for line, value in zip(chunk.lines, chunk.columns["b"], strict=True)
    }
    assert rows == {line: str((line - 2) ** 2) for line in range(2, 42) if line not in (11, 34)}
    assert [row.line for chunk in chunks for row in chunk.rejected] == [11, 34]
    assert sum(chunk.rows_read for chunk in chunks) == 40


def test_duplicates_are_remembered_across_chunks():
    rng = np.random.default_rng(3)
    seen: set[tuple[int, str]] = set()
    duplicates = DuplicateRows()
    for _ in range(20):
        frame = pd.DataFrame({"n": rng.integers(0, 60, 50), "s": rng.choice(["x", "y"], 50).astype(object)})
        accepted = rng.random(50) < 0.8
        expected = []
        for row, ok in zip(frame.itertuples(index=False), accepted, strict=True):
            expected.append(ok and tuple(row) in seen)
            if ok:
                seen.add(tuple(row))
        hashes = row_hashes(*(value_hashes(frame[name].to_numpy()) for name in frame))
        assert duplicates.check(hashes, accepted).tolist() == expected
