"""What the stages know of a user, as columns of a table: the fields of the state that impressions keep.

Request tables, the features that were logged and the features that training computes all have these columns,
so that the same predictor answers them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from services.recommendations.contracts.candidates import UserState
from services.recommendations.contracts.state_document import STATE_SCHEMA, state_document, state_of
from streamrec.contracts.errors import InvalidInputError

UNIT: Final = "unit"
STATE_COLUMNS: Final = (
    "country",
    "language",
    "age_band",
    "signup_channel",
    "history",
    "disliked",
    "skipped",
    "skip_ages_hours",
    "shown",
)

MAXIMUM_STATE_BYTES: Final = 1_048_576
"""Of one row. An evaluation hides all that a user has seen, which for a collector of films are thousands."""

_NOT_ALWAYS_KEPT: Final = ("skip_ages_hours", "shown")
"""States that were logged before these counted do not have them."""


def state_table(states: Iterable[UserState]) -> pd.DataFrame:
    """`STATE_COLUMNS`, one row for each state, in their order.

    Raises:
        InvalidInputError: A state takes more than `MAXIMUM_STATE_BYTES`.
    """
    rows = []
    for state in states:
        document = state_document(state, MAXIMUM_STATE_BYTES)
        if document is None:
            raise InvalidInputError(
                f"unit.{state.user_id}", f"what is known of it takes more than {MAXIMUM_STATE_BYTES:,} bytes"
            )
        rows.append({name: document[name] for name in STATE_COLUMNS})
    return pd.DataFrame(rows, columns=list(STATE_COLUMNS))


def states_of(table: pd.DataFrame) -> Iterator[UserState]:
    """The state of each row: `STATE_COLUMNS` and ``unit``.

    Raises:
        InvalidInputError: A column is missing, or a value is not what the state holds; names it.
    """
    names = [name for name in STATE_COLUMNS if name in table.columns or name not in _NOT_ALWAYS_KEPT]
    for name in (UNIT, *names):
        if name not in table.columns:
            raise InvalidInputError(name, "is missing: a request needs what is known of its user")
    for unit, *values in table[[UNIT, *names]].itertuples(index=False, name=None):
        yield state_of(str(unit), _document(dict(zip(names, map(_plain, values), strict=True))))


def _document(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name not in _NOT_ALWAYS_KEPT or value is not None}
    return {"schema": STATE_SCHEMA, **kept}


def _plain(value: Any) -> Any:
    """What Parquet and NumPy make of lists and numbers, as JSON has them."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value
