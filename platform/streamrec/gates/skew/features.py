"""Features as they were served beside the same features as training computes them, column by column. Pure.

Both tables hold one row for each of the same (entity, time) pairs. One row an entity, so that rows are
independent and the bounds of a share are those of a binomial.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamrec.contracts.errors import InvalidInputError

RELATIVE_TOLERANCE: Final = 1e-6
"""Numbers that differ by less of the larger one are equal: single precision on one of the two sides."""

_SHOWN_CHARACTERS: Final = 60


@dataclass(frozen=True, slots=True)
class ColumnSkew:
    """How often one feature differs.

    Attributes:
        column: Its name.
        rows: Rows compared.
        mismatches: Rows in which the two values are not the same; all of them where a side lacks the column.
        missing_in: ``served`` or ``trained`` where that side has no such column; else None.
        example: One row that differs, in words; empty where none does.
    """

    column: str
    rows: int
    mismatches: int
    missing_in: str | None = None
    example: str = ""

    @property
    def share(self) -> float:
        """Share of rows that differ."""
        return self.mismatches / self.rows

    def bound(self, confidence: float, *, upper: bool) -> float:
        """One-sided bound of the share by the score interval (Wilson 1927), 0 to 1."""
        z = NormalDist().inv_cdf(confidence)
        n, p = self.rows, self.share
        middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        return min(1.0, middle + half) if upper else max(0.0, middle - half)

    def to_json(self, confidence: float) -> dict[str, Any]:
        """Plain JSON values, with both bounds."""
        return {
            "column": self.column,
            "rows": self.rows,
            "mismatches": self.mismatches,
            "share": self.share,
            "low": self.bound(confidence, upper=False),
            "high": self.bound(confidence, upper=True),
            "missing_in": self.missing_in,
            "example": self.example,
        }


def rows_to_pass(limit: float, confidence: float) -> int:
    """Rows at which no mismatch at all is enough: where the upper bound of zero out of n is at the limit."""
    squared = NormalDist().inv_cdf(confidence) ** 2
    return math.ceil(squared * (1.0 - limit) / limit)


def compare_features(
    trained: pd.DataFrame, served: pd.DataFrame, *, ignored: Sequence[str] = ()
) -> tuple[ColumnSkew, ...]:
    """Compare two tables row by row; the column with most mismatches first.

    A value is a text, a truth value, a number, a list of such, or missing (None and NaN are the same). A
    number written as text is not the number: that is a retyped column.

    Args:
        trained: Indexed by row name: the features as training computes them.
        served: Same index in the same order: the features as serving had them.
        ignored: Columns that are no features.

    Raises:
        InvalidInputError: The tables do not have the same rows, there are none, or there is no column.
    """
    if len(served) == 0 or not served.index.equals(trained.index):
        raise InvalidInputError("served", "must have the rows of the trained features, and at least one")
    names = sorted((set(trained.columns) | set(served.columns)) - set(ignored))
    if not names:
        raise InvalidInputError("served", "has no feature to compare")
    found = [_column(str(name), trained, served) for name in names]
    return tuple(sorted(found, key=lambda skew: (-skew.mismatches, skew.column)))


def differing_rows(
    trained: pd.DataFrame, served: pd.DataFrame, *, ignored: Sequence[str] = ()
) -> NDArray[np.bool_]:
    """Shape (n,): rows of which a feature differs; all where a side lacks one. See `compare_features`."""
    names = (set(trained.columns) | set(served.columns)) - set(ignored)
    if any(name not in trained.columns or name not in served.columns for name in names):
        return np.ones(len(served), dtype=bool)
    different = np.zeros(len(served), dtype=bool)
    for name in names:
        pairs = zip(trained[name], served[name], strict=True)
        different |= np.array([not same_value(first, second) for first, second in pairs], dtype=bool)
    return different


def _column(name: str, trained: pd.DataFrame, served: pd.DataFrame) -> ColumnSkew:
    rows = len(served)
    for side, table in (("served", served), ("trained", trained)):
        if name not in table.columns:
            return ColumnSkew(name, rows, rows, missing_in=side, example=f"the {side} features lack it")
    different = [
        row
        for row, (was_trained, was_served) in enumerate(zip(trained[name], served[name], strict=True))
        if not same_value(was_trained, was_served)
    ]
    if not different:
        return ColumnSkew(name, rows, 0)
    first = different[0]
    example = f"{_shown(served[name].iloc[first])} served, {_shown(trained[name].iloc[first])} trained"
    return ColumnSkew(name, rows, len(different), example=example)


def same_value(first: Any, second: Any) -> bool:
    """Whether two values of a feature are the same; see `compare_features`."""
    if _is_list(first) or _is_list(second):
        return (
            _is_list(first)
            and _is_list(second)
            and len(first) == len(second)
            and all(same_value(one, other) for one, other in zip(first, second, strict=True))
        )
    if isinstance(first, Mapping) or isinstance(second, Mapping):
        return (
            isinstance(first, Mapping)
            and isinstance(second, Mapping)
            and first.keys() == second.keys()
            and all(same_value(first[key], second[key]) for key in first)
        )
    if _is_missing(first) or _is_missing(second):
        return _is_missing(first) and _is_missing(second)
    if _is_number(first) and _is_number(second):
        one, other = float(first), float(second)
        return one == other or abs(one - other) <= RELATIVE_TOLERANCE * max(abs(one), abs(other))
    if _is_number(first) or _is_number(second) or isinstance(first, str) != isinstance(second, str):
        return False
    return bool(first == second)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NaT or value is pd.NA or (_is_number(value) and math.isnan(value))


def _shown(value: Any) -> str:
    """A value within a sentence: short, in one line."""
    if _is_list(value):
        value = [item.item() if isinstance(item, np.generic) else item for item in value[-3:]]
    elif isinstance(value, np.generic):
        value = value.item()
    text = ascii(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."
