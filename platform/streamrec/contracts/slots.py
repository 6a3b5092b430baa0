"""A slot is a place that a model is served in; a role is why a version of the model is asked there."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import StringConstraints

SlotName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)*$", max_length=128)
]
"""Lower-case words joined by dots, the spoke first: ``search.ranking``."""


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
