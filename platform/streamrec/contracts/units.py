"""Units and their buckets: who gets which version, the same at every replica and for every request.

A unit is what a version is assigned to: a user, or whatever the caller names in the header `UNIT_HEADER`. Its
bucket depends on the salt and the unit alone, so a share of units grows without any unit changing sides.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from streamrec.contracts.conventions import MAXIMUM_ID_CHARACTERS
from streamrec.contracts.errors import InvalidInputError

BASIS_POINTS: Final = 10_000
"""Basis points in a whole: shares of units are counted in ten-thousandths, and there are as many buckets."""

UNIT_HEADER: Final = "X-StreamRec-Unit"
"""HTTP header in which a caller names the unit of a model whose unit is not the user."""

SALT_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""A salt has no colon, which separates it from the unit: no two pairs of salt and unit are hashed alike."""

_CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def bucket(salt: str, unit: str) -> int:
    """Bucket of a unit, 0 to 9,999, uniform over units and independent between salts.

    Args:
        salt: Of the rollout or experiment, of the form `SALT_PATTERN`.
        unit: See `validate_unit`.
    """
    digest = hashlib.sha256(f"{salt}:{unit}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % BASIS_POINTS


def validate_unit(unit: str, *, field: str = "unit") -> str:
    """Return ``unit`` if it can be hashed, logged and used as a label.

    Raises:
        InvalidInputError: It is empty, longer than 128 characters, or holds a control character or a lone
            surrogate.
    """
    if not 1 <= len(unit) <= MAXIMUM_ID_CHARACTERS:
        raise InvalidInputError(field, f"must have 1 to {MAXIMUM_ID_CHARACTERS} characters")
    if _CONTROL_CHARACTER.search(unit):
        raise InvalidInputError(field, "must not hold control characters")
    try:
        unit.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInputError(field, "must be Unicode text; it holds a lone surrogate") from error
    return unit


CANDIDATES_SHARE_BP: Final = 100
"""Requests in 10,000 whose candidates are all kept, with their scores."""

_CANDIDATES_SALT: Final = "streamrec.candidates"


def keeps_candidates(request_id: str) -> bool:
    """Whether all candidates of this request are written down: one request in a hundred, by its id alone."""
    return bucket(_CANDIDATES_SALT, request_id) < CANDIDATES_SHARE_BP
