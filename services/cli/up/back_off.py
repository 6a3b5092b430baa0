"""How long to wait before a part that has ended is started again. Pure: the caller says what time it is."""

from __future__ import annotations

from typing import Final

FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 30.0
LIVES_WELL_AFTER_S: Final = 60.0
"""A part that lived for so long was well: its next death is a first one."""


class BackOff:
    """Doubles the wait with each death in a row, up to a bound; a long life makes it short again."""

    def __init__(self) -> None:
        self._deaths = 0

    @property
    def deaths(self) -> int:
        """Deaths in a row."""
        return self._deaths

    def delay_s(self, lived_s: float) -> float:
        """Wait before the next start of a part that has just ended.

        Args:
            lived_s: How long it had been running.
        """
        if lived_s >= LIVES_WELL_AFTER_S:
            self._deaths = 0
        self._deaths += 1
        # The exponent is bounded too: two to the power of a year of deaths is a long number.
        return min(FIRST_DELAY_S * 2.0 ** min(self._deaths - 1, 16), LONGEST_DELAY_S)
