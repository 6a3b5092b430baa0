"""A slot is a place that a model is served in; a role is why a version of the model is asked there."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Final

from pydantic import StringConstraints

from streamrec.contracts.errors import InvalidInputError

_PATTERN: Final = r"[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)*"
_MAXIMUM_LENGTH: Final = 128

SlotName = Annotated[str, StringConstraints(pattern=f"^{_PATTERN}$", max_length=_MAXIMUM_LENGTH)]
"""Lower-case words joined by dots, the spoke first: ``search.ranking``."""


def validate_slot_name(slot: str) -> str:
    """Return ``slot`` if it is a `SlotName`.

    Raises:
        InvalidInputError: It is not.
    """
    if len(slot) > _MAXIMUM_LENGTH or not re.fullmatch(_PATTERN, slot):
        raise InvalidInputError(
            "slot", f"{slot!r} must be lower-case words joined by dots, for example search.ranking"
        )
    return slot


class ServingRole(StrEnum):
    """Why a version was asked."""

    CHAMPION = "champion"
    """It serves."""
    CHALLENGER = "challenger"
    """It asks to serve, and has a share of the traffic."""
    SHADOW = "shadow"
    """It is asked beside the version that answers, and nobody sees its answer."""
    HOLDBACK = "holdback"
    """It served before, and keeps a small share for a long comparison."""
