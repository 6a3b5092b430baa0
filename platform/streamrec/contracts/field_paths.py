"""Where a field stands in a document, in words for a message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_MAXIMUM_PART_CHARACTERS: Final = 40


def dotted_path(parts: Iterable[object]) -> str:
    """The keys and positions that lead to a field, joined by dots: ``slots.moderation.weight_bp``.

    Keys come from outside: long ones are shortened and control characters escaped, so that a message stays
    one short line.
    """
    return ".".join(one_line(shortened(str(part))) for part in parts)


def shortened(text: str) -> str:
    """At most 40 characters of a text."""
    if len(text) <= _MAXIMUM_PART_CHARACTERS:
        return text
    return text[:_MAXIMUM_PART_CHARACTERS] + "..."


def one_line(text: str) -> str:
    """The text with everything escaped that a terminal would not print as it is."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )
