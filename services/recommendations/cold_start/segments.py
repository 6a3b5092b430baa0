"""Segment attributes as columns of a design matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Segment
from streamrec.contracts.conventions import UNKNOWN

ATTRIBUTES: Final = ("country", "language", "age_band", "signup_channel")
"""Attributes of `Segment`, in the order of the design matrix."""


@dataclass(frozen=True)
class SegmentDesign:
    """Which column each known attribute value owns. Column 0 is the population.

    A value without a column (never seen in training, too rare, or ``unknown``) switches none on, so the
    user's mean falls back to the population's; its effect is then a draw from the attribute's own spread.

    Attributes:
        levels: The values with a column, by attribute, in column order. An attribute that has a single value
            in the training data has none: its effect cannot be distinguished from the population mean.
    """

    levels: tuple[tuple[str, ...], ...]

    @classmethod
    def from_segments(cls, segments: Sequence[Segment], *, minimum_users: int, maximum_levels: int) -> Self:
        """Give a column to the most common values of each attribute.

        Args:
            segments: One per training user.
            minimum_users: A value with fewer users has no column.
            maximum_levels: Most columns of one attribute; bounds the cost of the fit.
        """
        levels = []
        for attribute in ATTRIBUTES:
            counts = Counter(getattr(segment, attribute) for segment in segments)
            distinct = len(counts)
            counts.pop(UNKNOWN, None)
            # Sorted by value within equal counts: the same data always gives the same columns.
            common = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:maximum_levels]
            kept = tuple(sorted(value for value, count in common if count >= minimum_users))
            levels.append(kept if distinct > 1 else ())
        return cls(tuple(levels))

    @property
    def width(self) -> int:
        """Number of columns p, the population's included."""
        return 1 + sum(len(values) for values in self.levels)

    @cached_property
    def attribute_of_column(self) -> NDArray[np.int64]:
        """Shape (p - 1,): the attribute (position in `ATTRIBUTES`) of each column after the population's."""
        return np.repeat(np.arange(len(ATTRIBUTES)), [len(values) for values in self.levels])

    @cached_property
    def _column_of(self) -> tuple[dict[str, int], ...]:
        tables, start = [], 1
        for values in self.levels:
            tables.append({value: start + position for position, value in enumerate(values)})
            start += len(values)
        return tuple(tables)

    def encode(self, segment: Segment) -> tuple[list[int], list[int]]:
        """Return the columns that are switched on, and the attributes whose effect is not known.

        An attribute without any column is in neither: nothing was learned about it.
        """
        columns, missing = [0], []
        for position, attribute in enumerate(ATTRIBUTES):
            table = self._column_of[position]
            column = table.get(getattr(segment, attribute))
            if column is not None:
                columns.append(column)
            elif table:
                missing.append(position)
        return columns, missing

    def matrix(self, segments: Sequence[Segment]) -> NDArray[np.float64]:
        """Return the design matrix, shape (len(segments), p), of zeros and ones."""
        design = np.zeros((len(segments), self.width))
        for row, segment in enumerate(segments):
            design[row, self.encode(segment)[0]] = 1.0
        return design
