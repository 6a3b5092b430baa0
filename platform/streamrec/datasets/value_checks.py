"""What a data folder may not hold where it is read: a value that is missing, or is no number or time.

Importers quarantine such rows one by one. A folder that did not come through one is refused whole, by the
name of the column: a missing id would else be read as the id "None", a NaN would be learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from streamrec.contracts.errors import DataFolderError

_ADVICE: Final = "import the folder with 'streamrec data import neutral' to quarantine their rows"


def check_present(path: Path, table: pa.Table, columns: Sequence[str]) -> None:
    """Refuse a null or NaN in one of ``columns``.

    Raises:
        DataFolderError: Names the column.
    """
    for name in columns:
        column = table.column(name)
        missing = int(column.null_count) + _count(pc.is_nan(column) if _is_float(column) else None)
        if missing:
            raise DataFolderError(path, name, f"{missing} values are missing; {_ADVICE}")


def check_finite(path: Path, table: pa.Table, columns: Sequence[str]) -> None:
    """Refuse NaN and infinities in those of ``columns`` that the table has; null means not known.

    Raises:
        DataFolderError: Names the column.
    """
    for name in columns:
        if name not in table.column_names:
            continue
        column = table.column(name)
        if not (_is_float(column) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
            raise DataFolderError(path, name, f"must hold numbers, not {column.type}")
        wrong = _count(pc.invert(pc.is_finite(column)) if _is_float(column) else None)
        if wrong:
            raise DataFolderError(path, name, f"{wrong} values are NaN or infinite; {_ADVICE}")


def check_texts(path: Path, table: pa.Table, column: str) -> None:
    """Refuse a column that does not hold lists of text, or a null within a list; a null list is empty.

    Raises:
        DataFolderError: Names the column.
    """
    lists = table.column(column)
    if pa.types.is_null(lists.type):
        return
    if not (pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)):
        raise DataFolderError(path, column, f"must hold lists of text, not {lists.type}")
    texts = pc.list_flatten(lists)
    empty = pa.types.is_null(texts.type)
    if not (empty or pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
        raise DataFolderError(path, column, f"must hold lists of text, not {lists.type}")
    if texts.null_count:
        raise DataFolderError(path, column, f"{texts.null_count} texts are missing within lists; {_ADVICE}")


def parsed_times(path: Path, values: pd.Series, column: str) -> pd.Series:
    """Parse a column as datetime64[ns, UTC]; NaT where there is no value.

    Raises:
        DataFolderError: A value is no time, or lies too far from 1970 for nanoseconds. A bare number is no
            time: nobody says whether it counts seconds or anything else.
    """
    if pd.api.types.is_numeric_dtype(values.dtype) and values.notna().any():
        raise DataFolderError(path, column, f"must hold times, not {values.dtype}; {_ADVICE}")
    try:
        times: pd.Series = pd.to_datetime(values, utc=True).dt.as_unit("ns")
    except (ValueError, TypeError, OverflowError) as error:
        raise DataFolderError(path, column, f"holds a value that is no usable time ({error})") from error
    return times


def _is_float(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_floating(column.type))


def _count(marked: pa.ChunkedArray | None) -> int:
    return 0 if marked is None else int(pc.sum(marked).as_py() or 0)
