"""Importing a CSV of many rows as anybody's table, rows a second and peak memory:
python tests/benchmarks/benchmark_table_import.py [MILLIONS]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.importers import TableSource, import_table

CHUNK_ROWS = 1_000_000
USERS, ITEMS = 200_000, 50_000


def main() -> None:
    millions = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.csv"
        # In a process of its own: what it holds at most is not what the import holds.
        subprocess.run([sys.executable, __file__, "--make", str(millions), str(path)], check=True)
        columns = {"user_id": "who", "item_id": "what", "timestamp": "when", "rating": "stars"}
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        report = import_table(TableSource(path, columns=columns), Path(folder) / "out", SilentProgress())
        elapsed_s, spent_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    rows = millions * CHUNK_ROWS
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{rows:,} rows, {report.interactions:,} kept, in {elapsed_s:.1f} s ({spent_s:.1f} s of processor)")
    print(f"{rows / elapsed_s:,.0f} rows a second, at most {peak_bytes / 2**20:,.0f} MiB of memory")


def make(millions: int, path: Path) -> None:
    random = np.random.default_rng(1)
    schema = pa.schema(
        [("who", pa.int64()), ("what", pa.int64()), ("stars", pa.float64()), ("when", pa.int64())]
    )
    with pyarrow.csv.CSVWriter(path, schema) as writer:
        for _ in range(millions):
            arrays = [
                random.integers(0, USERS, CHUNK_ROWS),
                random.integers(0, ITEMS, CHUNK_ROWS),
                random.integers(1, 11, CHUNK_ROWS) / 2,
                random.integers(1_400_000_000, 1_700_000_000, CHUNK_ROWS),
            ]
            writer.write_table(pa.table(dict(zip(schema.names, arrays, strict=True)), schema=schema))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
