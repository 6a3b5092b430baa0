"""Parquet from outside: a small file that unpacks to more than memory holds is not read."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamrec.gates.parquet_files import read_bounded


def test_a_file_that_unpacks_to_too_much_is_refused_by_what_it_says_of_itself(tmp_path):
    path = tmp_path / "bomb.parquet"
    table = pa.table({"text": ["x" * 1_000_000] * 50})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match="unpacks to"):
        read_bounded(path, maximum_rows=100, maximum_bytes=1_000_000)
    assert read_bounded(path, maximum_rows=100, maximum_bytes=100_000_000).num_rows == 50
    with pytest.raises(ValueError, match="50 rows"):
        read_bounded(path, maximum_rows=49)
