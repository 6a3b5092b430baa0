"""Which part of the log is read: a range of the platform's own time, and a range of units."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from streamrec.contracts.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From one moment on and before another, by the platform's clock (`streamrec.events.records.moment_of`).

    Attributes:
        start: The first moment that belongs to it; None for the beginning of the log.
        end: The first moment after it; None for no end.

    Raises:
        InvalidInputError: A moment has no time zone, or the end lies before the start.
    """

    start: datetime | None = None
    end: datetime | None = None

    def __post_init__(self) -> None:
        for name, moment in (("start", self.start), ("end", self.end)):
            if moment is not None and moment.tzinfo is None:
                raise InvalidInputError(name, "must have a time zone")
        if self.start is not None and self.end is not None and self.end < self.start:
            raise InvalidInputError("end", "lies before the start")

    @classmethod
    def of_day(cls, day: date) -> TimeRange:
        """Return one UTC day."""
        start = datetime.combine(day, time(), UTC)
        return cls(start, start + timedelta(days=1))

    def __contains__(self, moment: datetime) -> bool:
        return (self.start is None or self.start <= moment) and (self.end is None or moment < self.end)

    def touches(self, day: date) -> bool:
        """Whether a moment of the UTC day may belong to it."""
        if self.start is not None and day < self.start.astimezone(UTC).date():
            return False
        return self.end is None or datetime.combine(day, time(), UTC) < self.end

    def begun_earlier(self, by: timedelta) -> TimeRange:
        """Return a range that begins earlier; one without a start stays as it is."""
        return self if self.start is None else TimeRange(self.start - by, self.end)


ALL_TIME: Final = TimeRange()


@dataclass(frozen=True, slots=True)
class UnitRange:
    """Units by the order of their ids: whoever takes one range after the other holds one in memory at a time.

    Every event belongs to one unit, also where it was sent again: a range holds its events whole.

    Attributes:
        first: The first unit that belongs to it; None: from the beginning.
        end: The first unit after it; None: to the end.
    """

    first: str | None = None
    end: str | None = None


ALL_UNITS: Final = UnitRange()
