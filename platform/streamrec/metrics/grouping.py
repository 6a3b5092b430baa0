"""Sums over groups of rows, the same to the last bit whatever the order of the rows was. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def grouped_sums(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Sum all other columns over the rows that agree in ``keys``; sorted by them.

    Numbers are added in ascending order within a group, so that the order in which events came decides
    nothing, not even how sums are rounded.

    Args:
        table: Keys are text or whole numbers without nulls; the other columns are numbers.
        keys: At least one.
    """
    numbers = [name for name in table.column_names if name not in keys]
    if not table.num_rows:
        return table
    codes, values = zip(*(_codes(table[name]) for name in keys), strict=True)
    arrays = {name: table[name].to_numpy() for name in numbers}
    order = np.lexsort((*reversed(arrays.values()), *reversed(codes)))
    sorted_codes = [code[order] for code in codes]
    changes = np.zeros(table.num_rows, dtype=np.bool_)
    changes[0] = True
    for code in sorted_codes:
        changes[1:] |= code[1:] != code[:-1]
    starts = np.flatnonzero(changes)
    columns = {
        name: value.take(pa.array(code[starts]))
        for name, value, code in zip(keys, values, sorted_codes, strict=True)
    }
    sums = {name: pa.array(np.add.reduceat(array[order], starts)) for name, array in arrays.items()}
    return pa.table({name: (columns | sums)[name] for name in table.column_names})


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Array]:
    """The place of each value among all different ones in ascending order, and these."""
    values = pc.unique(column)
    values = values.take(pc.sort_indices(values))
    codes: NDArray[np.int32] = pc.index_in(column, value_set=values).to_numpy()
    return codes, values
