"""The bonus that an item's score gets for its creator's language: the published document."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from streamrec.contracts.errors import InvalidInputError
from streamrec.documents.document_kind import DocumentKind
from streamrec.documents.signed_form import REVISION_FIELD, SCHEMA_FIELD

MAXIMUM_LANGUAGES: Final = 500
MAXIMUM_LANGUAGE_LENGTH: Final = 64

MAXIMUM_PRICE: Final = 1.0
"""In NDCG of one slate, which is at most 1: no exposure is worth a whole slate."""

_FIELDS: Final = frozenset({"published_at", "target_gini", "strength", "pattern", "prices"})


@dataclass(frozen=True)
class ExposurePrices:
    """The bonus that an item's score gets for its creator's language, and what it was decided from.

    Attributes:
        published_at: When, UTC.
        target_gini: What the prices aim at; 0..1.
        strength: Multiplier of the exposure constraint, in NDCG; 0..`MAXIMUM_PRICE`.
        pattern: Which languages are over-exposed (`streamrec.stats.exposure.next_pattern`), by language;
            -1..1. With the strength it is all that the controller has to remember.
        prices: What one shown item is worth in NDCG, by language; 0..`MAXIMUM_PRICE`.

    Raises:
        InvalidInputError: A value is out of its range; names the field.
    """

    published_at: datetime
    target_gini: float
    strength: float
    pattern: Mapping[str, float]
    prices: Mapping[str, float]

    def __post_init__(self) -> None:
        if self.published_at.utcoffset() is None:
            raise InvalidInputError("published_at", "must name its time zone")
        _check("target_gini", self.target_gini, 0.0, 1.0)
        _check("strength", self.strength, 0.0, MAXIMUM_PRICE)
        for name, values, low, high in (
            ("pattern", self.pattern, -1.0, 1.0),
            ("prices", self.prices, 0.0, MAXIMUM_PRICE),
        ):
            if len(values) > MAXIMUM_LANGUAGES:
                raise InvalidInputError(name, f"has {len(values)} languages, at most {MAXIMUM_LANGUAGES}")
            for language, value in values.items():
                if not 1 <= len(language) <= MAXIMUM_LANGUAGE_LENGTH:
                    raise InvalidInputError(
                        name, f"language names have 1..{MAXIMUM_LANGUAGE_LENGTH} characters"
                    )
                _check(f"{name}.{_quoted(language)}", value, low, high)
            object.__setattr__(self, name, MappingProxyType(dict(values)))

    def to_body(self) -> dict[str, Any]:
        """Return the fields to publish."""
        return {
            "published_at": self.published_at.astimezone(UTC).isoformat(),
            "target_gini": self.target_gini,
            "strength": self.strength,
            "pattern": dict(self.pattern),
            "prices": dict(self.prices),
        }


def parse_exposure_prices(document: Mapping[str, Any]) -> ExposurePrices:
    """Read a verified document with what `ExposurePrices.to_body` returned.

    Raises:
        InvalidInputError: A field is missing, unknown, of another type or out of its range.
    """
    fields = document.keys() - {SCHEMA_FIELD, REVISION_FIELD}
    if fields != _FIELDS:
        raise InvalidInputError("document", f"must have exactly the fields {', '.join(sorted(_FIELDS))}")
    published_at = document["published_at"]
    if not isinstance(published_at, str):
        raise InvalidInputError("published_at", "must be a time in ISO 8601")
    try:
        moment = datetime.fromisoformat(published_at)
    except ValueError as error:
        raise InvalidInputError("published_at", "must be a time in ISO 8601") from error
    return ExposurePrices(
        published_at=moment,
        target_gini=_number("target_gini", document["target_gini"]),
        strength=_number("strength", document["strength"]),
        pattern=_numbers("pattern", document["pattern"]),
        prices=_numbers("prices", document["prices"]),
    )


EXPOSURE_PRICES: Final = DocumentKind("streamrec.exposure_prices.v1", parse_exposure_prices)


def _check(field: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise InvalidInputError(field, f"must be finite and in {low:g}..{high:g}")


def _number(field: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInputError(field, "must be a number")
    return float(value)


def _numbers(field: str, values: Any) -> dict[str, float]:
    if not isinstance(values, dict):
        raise InvalidInputError(field, "must be an object with a number for each language")
    return {language: _number(f"{field}.{_quoted(language)}", value) for language, value in values.items()}


def _quoted(language: str) -> str:
    """The name as it may stand in a message: short, on one line."""
    return language[:MAXIMUM_LANGUAGE_LENGTH].encode("unicode_escape").decode("ascii")
