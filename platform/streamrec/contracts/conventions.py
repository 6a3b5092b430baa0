"""Values that every room must agree on."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

UNKNOWN: Final = "unknown"
"""What an attribute is called that nobody knows: a user's country, an item's creator."""

MAXIMUM_ID_CHARACTERS: Final = 128
"""Of an id of a user, an item or a unit, in imports as in HTTP: what is imported can be asked for."""

HISTORY_LIMIT: Final = 4_096
"""Items in a user's history, the newest ones. Long enough to filter everything that nearly every user saw."""

MAXIMUM_CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far a client's clock may run ahead of the platform's; a later time counts as lying in the future."""
