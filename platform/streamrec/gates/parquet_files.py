"""Parquet files that are not trusted: looked at first, so that none unpacks to more than memory holds."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

MAXIMUM_UNPACKED_BYTES: Final = 4 * 1024**3


def read_bounded(path: Path, *, maximum_rows: int, maximum_bytes: int = MAXIMUM_UNPACKED_BYTES) -> pa.Table:
    """Read a file whose own directory says that it is small enough.

    Args:
        path: The file.
        maximum_rows: Of the table.
        maximum_bytes: Of all columns, unpacked.

    Raises:
        ValueError: It holds more.
        OSError, pyarrow.ArrowException: It cannot be read.
    """
    with pq.ParquetFile(path) as file:
        described = file.metadata
        if described.num_rows > maximum_rows:
            raise ValueError(f"it has {described.num_rows} rows, at most {maximum_rows} are read")
        unpacked = sum(
            described.row_group(number).total_byte_size for number in range(described.num_row_groups)
        )
        if unpacked > maximum_bytes:
            raise ValueError(f"it unpacks to {unpacked} bytes, at most {maximum_bytes} are read")
        return file.read()
