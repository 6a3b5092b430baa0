"""What is known of units, out of a table."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from streamrec.contracts.conventions import UNKNOWN
from streamrec.contracts.errors import InvalidInputError


class TableSegments:
    """Implements `UnitSegments` on a table with a row for each unit. It is read when it is first needed."""

    def __init__(self, read: Callable[[], pa.Table], unit_column: str) -> None:
        """Set it up.

        Args:
            read: Returns the table: text columns, units without repetition.
            unit_column: Which column holds the units; the others are attributes.
        """
        self._read, self._unit_column = read, unit_column
        self._table: pa.Table | None = None

    def values(self, attribute: str, units: pa.Array) -> pa.Array:
        """See `UnitSegments.values`."""
        if self._table is None:
            self._table = self._read()
        known = [name for name in self._table.column_names if name != self._unit_column]
        if attribute not in known:
            raise InvalidInputError(
                "by", f"nothing called {attribute!r} is known of users; there is {', '.join(known)}"
            )
        rows = pc.index_in(units, value_set=self._table[self._unit_column].combine_chunks())
        return pc.fill_null(self._table[attribute].combine_chunks().take(rows), UNKNOWN)
