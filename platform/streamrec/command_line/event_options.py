"""The options that commands about the event log share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streamrec.contracts.errors import InvalidInputError

if TYPE_CHECKING:
    from streamrec.events.time_range import TimeRange

DEFAULT_RETENTION_DAYS: Final = 400
"""A year can be compared with the one before it, month by month."""

RetentionOption = Annotated[
    int,
    typer.Option(
        "--retention-days",
        envvar="STREAMREC_EVENT_RETENTION_DAYS",
        min=0,
        max=36_500,
        help="Compaction removes events that are older; 0 keeps them for ever.",
    ),
]

SinceOption = Annotated[
    str | None,
    typer.Option("--since", help="Only what came at this time or later: ISO 8601, UTC where it has no zone."),
]

UntilOption = Annotated[str | None, typer.Option("--until", help="Only what came before this time.")]


def time_range(since: str | None, until: str | None) -> TimeRange:
    """Return the range that the options name.

    Raises:
        InvalidInputError: One is no time, or the end lies before the start.
    """
    from streamrec.events.time_range import TimeRange

    return TimeRange(
        None if since is None else moment("--since", since),
        None if until is None else moment("--until", until),
    )


def moment(option: str, text: str) -> datetime:
    """Return the time that an option names: ISO 8601, UTC where it has no zone.

    Raises:
        InvalidInputError: It is no time.
    """
    try:
        named = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInputError(
            option, f"{text!r} is no time such as 2026-03-01 or 2026-03-01T12:00Z"
        ) from error
    return named.replace(tzinfo=UTC) if named.tzinfo is None else named
