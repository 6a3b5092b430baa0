"""Groups of what is shown: attributes that the catalogue says of items, such as creator_language."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from streamrec.contracts.conventions import UNKNOWN
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.specification.fairness_policy import FairnessPolicy
from streamrec.gates.fairness.groups import MISSING

_ITEMS: Final = "items.parquet"


def read_item_groups(
    data: Path | None, policy: FairnessPolicy, *, of_units: Collection[str] = ()
) -> dict[str, dict[str, str]]:
    """Group by attribute, then by item, of the whole catalogue.

    Args:
        data: A data folder in the neutral format; None where there is none.
        policy: Names the attributes; those that the items have no text column for are left out.
        of_units: Attributes that requests say of their units.

    Raises:
        InvalidInputError: The items cannot be read.
    """
    path = None if data is None else data / _ITEMS
    if path is None or not path.is_file():
        return {}
    try:
        schema = pq.read_schema(path)
        wanted = [
            name
            for name in policy.attributes
            if name not in of_units
            and name in schema.names
            and (
                pa.types.is_string(schema.field(name).type)
                or pa.types.is_large_string(schema.field(name).type)
            )
        ]
        if not wanted:
            return {}
        table = pq.read_table(path, columns=["item_id", *wanted])
    except (OSError, pa.ArrowException) as error:
        raise InvalidInputError("items", f"{path} cannot be read: {error}") from error
    items = table["item_id"].to_pylist()
    return {
        name: {
            str(item): MISSING if group in (None, "", UNKNOWN) else str(group)
            for item, group in zip(items, table[name].to_pylist(), strict=True)
        }
        for name in wanted
    }
