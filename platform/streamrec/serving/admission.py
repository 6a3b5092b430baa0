"""Places in a service: a request takes one or is refused at once; nobody queues for one."""

from __future__ import annotations

from collections.abc import Callable


def _nobody(_share: float) -> None:
    """Where nobody wants to hear of it."""


class Admission:
    """Counts requests under way against a limit that may move. For one event loop."""

    def __init__(self, limit: Callable[[], int], on_asked: Callable[[float], None] = _nobody) -> None:
        """Describe it.

        Args:
            limit: How many may be under way now.
            on_asked: Told, for every request that takes a place or finds none, which part of the places was
                given away; 1 where it found none.
        """
        self._limit = limit
        self._on_asked = on_asked
        self._under_way = 0

    @property
    def under_way(self) -> int:
        """Requests that hold a place."""
        return self._under_way

    def has_room(self) -> bool:
        """Whether a request would get a place now. Asked once for each: who is told no is refused."""
        if self._under_way < self._limit():
            return True
        self._on_asked(1.0)
        return False

    def take(self) -> bool:
        """Take a place; False where there is none. Who got one says `leave` when it is done."""
        if not self.has_room():
            return False
        self._on_asked(self._under_way / self._limit())
        self._under_way += 1
        return True

    def leave(self) -> None:
        """Give a place back."""
        self._under_way -= 1
