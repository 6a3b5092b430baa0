"""An estimate between its confidence bounds: the one shape that every figure with an interval has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.json_documents import STRICT, document_json, read_document

_ROUNDING: Final = 1e-9
"""Bounds may miss the value by so much of the largest of the three: what adding up in another order does."""

FiniteNumber = Annotated[float, Field(allow_inf_nan=False)]


class IntervalMethod(StrEnum):
    """How the bounds were found."""

    PERCENTILE_BOOTSTRAP = "percentile_bootstrap"
    BASIC_BOOTSTRAP = "basic_bootstrap"
    NORMAL_APPROXIMATION = "normal_approximation"
    DELTA_METHOD = "delta_method"
    WILSON_EFFECTIVE_SAMPLE = "wilson_effective_sample"
    WOODRUFF = "woodruff"
    WILSON = "wilson"
    SKEWNESS_CORRECTED_SCORE = "skewness_corrected_score"
    WELCH = "welch"
    CLOPPER_PEARSON = "clopper_pearson"


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between its confidence bounds.

    Attributes:
        value: The estimate.
        low, high: Its bounds; ``low <= value <= high``.
        level: Confidence level asked for, between 0 and 1: 0.95 for a 95 % interval.
        method: How the bounds were found.
        n: Independent units that it was estimated from: users, not impressions.
    """

    __pydantic_config__ = STRICT

    value: FiniteNumber
    low: FiniteNumber
    high: FiniteNumber
    level: Annotated[float, Field(gt=0.0, lt=1.0)]
    method: IntervalMethod
    n: Annotated[int, Field(ge=0)]

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            if not math.isfinite(getattr(self, name)):
                raise InvalidInputError(name, "must be a finite number")
        if not 0.0 < self.level < 1.0:
            raise InvalidInputError("level", "must be between 0 and 1, for example 0.95")
        if self.n < 0:
            raise InvalidInputError("n", "must be 0 or more")
        tolerance = _ROUNDING * max(abs(self.low), abs(self.value), abs(self.high))
        if not self.low - tolerance <= self.value <= self.high + tolerance:
            raise InvalidInputError(
                "value", f"{self.value!r} must be between the bounds {self.low!r} and {self.high!r}"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: ``value``, ``low``, ``high``, ``level``, ``method`` and ``n``."""
        return document_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any], *, path: str = "interval") -> Interval:
        """Read what `to_json` wrote.

        Args:
            document: Plain JSON values.
            path: Dotted path of the interval in its document, for the message of an error.

        Raises:
            InvalidInputError: Something is missing, unknown or out of bounds; ``field`` says which.
        """
        return read_document(cls, document, path=path)


def interval_json(interval: Interval | None) -> dict[str, Any] | None:
    """The interval as plain JSON values, or None where the figure could not be estimated."""
    return None if interval is None else interval.to_json()
