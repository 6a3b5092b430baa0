"""The port to whatever may hold a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Trace:
    """What of a person is in one place.

    Attributes:
        place: Where: a table, a file or a log, relative to the workspace.
        records: How many rows, records or mentions.
    """

    place: str
    records: int


class PersonalData(Protocol):
    """One store. Both methods read what is there now, and neither believes what the other has seen."""

    @property
    def name(self) -> str:
        """What it is, for a person who reads the report."""
        ...

    def remove(self, person: str) -> int:
        """Remove the person; return how many records went. Doing it again is harmless.

        Raises:
            StreamRecError: Something could not be read or written; what is left is found again.
        """
        ...

    def find(self, person: str) -> list[Trace]:
        """Look through everything and return what is there of the person.

        Raises:
            StreamRecError: Something could not be read.
        """
        ...
