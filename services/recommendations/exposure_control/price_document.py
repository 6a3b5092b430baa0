"""The prices of language exposure as they travel from the controller to the replicas."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from streamrec.contracts.errors import InvalidInputError

FORMAT: Final = 1

MAXIMUM_BYTES: Final = 65_536
"""A larger document is refused unread."""

MAXIMUM_LANGUAGES: Final = 500
MAXIMUM_LANGUAGE_LENGTH: Final = 64

MAXIMUM_PRICE: Final = 1.0
"""In NDCG of one slate, which is at most 1: no exposure is worth a whole slate."""

_MAXIMUM_REVISION: Final = 2**53
"""Beyond it JSON readers disagree about integers."""

_FIELDS: Final = frozenset(
    {"format", "revision", "published_at", "target_gini", "strength", "pattern", "prices"}
)


@dataclass(frozen=True)
class PriceDocument:
    """One published set of prices.

    Attributes:
        revision: Counts publications, from 1; replicas never go back to a lower one.
        published_at: When, UTC.
        target_gini: What the prices aim at; 0..1.
        strength: Multiplier of the exposure constraint, in NDCG; 0..`MAXIMUM_PRICE`.
        pattern: Which languages are over-exposed (`streamrec.stats.exposure.next_pattern`), by language;
            -1..1. With the strength it is all that the controller has to remember.
        prices: What one shown item is worth in NDCG, by language; 0..`MAXIMUM_PRICE`.

    Raises:
        InvalidInputError: A value is out of its range; names the field.
    """

    revision: int
    published_at: datetime
    target_gini: float
    strength: float
    pattern: Mapping[str, float]
    prices: Mapping[str, float]

    def __post_init__(self) -> None:
        if not 1 <= self.revision <= _MAXIMUM_REVISION:
            raise InvalidInputError("revision", f"must be in 1..{_MAXIMUM_REVISION}")
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
                _check(f"{name}.{language}", value, low, high)
            object.__setattr__(self, name, MappingProxyType(dict(values)))

    def to_bytes(self) -> bytes:
        """Return the document as UTF-8 JSON; the same document, the same bytes."""
        document = {
            "format": FORMAT,
            "revision": self.revision,
            "published_at": self.published_at.astimezone(UTC).isoformat(),
            "target_gini": self.target_gini,
            "strength": self.strength,
            "pattern": dict(self.pattern),
            "prices": dict(self.prices),
        }
        return (json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def parse_price_document(content: bytes) -> PriceDocument:
    """Read what `PriceDocument.to_bytes` wrote; trusts nothing.

    Raises:
        InvalidInputError: The content is too large, no such document, or holds a value out of range.
    """
    if len(content) > MAXIMUM_BYTES:
        raise InvalidInputError("document", f"has more than {MAXIMUM_BYTES} bytes")
    try:
        document = json.loads(content, object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("document", f"is not JSON: {error}") from error
    if not isinstance(document, dict) or document.keys() != _FIELDS:
        raise InvalidInputError("document", f"must be an object with exactly {', '.join(sorted(_FIELDS))}")
    if document["format"] != FORMAT or isinstance(document["format"], bool):
        raise InvalidInputError("format", f"must be {FORMAT}, the one that this release reads")
    revision, published_at = document["revision"], document["published_at"]
    if not isinstance(revision, int) or isinstance(revision, bool):
        raise InvalidInputError("revision", "must be an integer")
    if not isinstance(published_at, str):
        raise InvalidInputError("published_at", "must be a time in ISO 8601")
    try:
        moment = datetime.fromisoformat(published_at)
    except ValueError as error:
        raise InvalidInputError("published_at", "must be a time in ISO 8601") from error
    return PriceDocument(
        revision=revision,
        published_at=moment,
        target_gini=_number("target_gini", document["target_gini"]),
        strength=_number("strength", document["strength"]),
        pattern=_numbers("pattern", document["pattern"]),
        prices=_numbers("prices", document["prices"]),
    )


def _check(field: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise InvalidInputError(field, f"must be finite and in {low:g}..{high:g}")


def _number(field: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInputError(field, "must be a number")
    try:
        return float(value)
    except OverflowError as error:
        raise InvalidInputError(field, "is too large") from error


def _numbers(field: str, values: Any) -> dict[str, float]:
    if not isinstance(values, dict):
        raise InvalidInputError(field, "must be an object with a number for each language")
    return {language: _number(f"{field}.{language}", value) for language, value in values.items()}


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands in an object twice")
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")
