"""Segments as rows of embedding tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Segment
from streamrec.contracts.conventions import UNKNOWN

ATTRIBUTES: Final = tuple(attribute.name for attribute in fields(Segment))


@dataclass(frozen=True)
class SegmentTable:
    """Known values of each attribute of a segment.

    Attributes:
        values: By attribute, in the order of `ATTRIBUTES`: its values, sorted. ``unknown`` is not one.
    """

    values: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, segments: Iterable[Segment]) -> Self:
        """Collect the values that occur."""
        known = list(segments)
        return cls(
            tuple(
                tuple(sorted({getattr(segment, name) for segment in known} - {UNKNOWN}))
                for name in ATTRIBUTES
            )
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of known values by attribute."""
        return tuple(len(values) for values in self.values)

    @cached_property
    def _row_of(self) -> tuple[Mapping[str, int], ...]:
        return tuple({value: row for row, value in enumerate(values, start=1)} for values in self.values)

    def rows(self, segments: Iterable[Segment]) -> NDArray[np.int64]:
        """Shape (segments, attributes): row of each value, from 1; 0 where unknown."""
        rows = [
            [
                row_of.get(getattr(segment, name), 0)
                for name, row_of in zip(ATTRIBUTES, self._row_of, strict=True)
            ]
            for segment in segments
        ]
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(ATTRIBUTES))
