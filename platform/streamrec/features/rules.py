"""What every store does alike with a user's row, so that the twin and the adapters cannot differ."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from streamrec.contracts.conventions import HISTORY_LIMIT, MAXIMUM_CLOCK_SKEW, UNKNOWN
from streamrec.contracts.errors import InvalidInputError
from streamrec.features.store import UserFeatures

MAX_USER_ID_CHARACTERS: Final = 256


def check_user_id(user_id: str) -> None:
    """Refuse what cannot be a key.

    Raises:
        InvalidInputError: ``user_id`` is empty or too long.
    """
    if not user_id or len(user_id) > MAX_USER_ID_CHARACTERS:
        raise InvalidInputError("user_id", f"must have 1 to {MAX_USER_ID_CHARACTERS} characters")


def checked_history(
    user_id: str, history: tuple[str, ...], updated_at: datetime, now: datetime
) -> tuple[tuple[str, ...], datetime]:
    """The history as it is stored: its newest items, at most `HISTORY_LIMIT`, and its time to the second.

    Raises:
        InvalidInputError: The user's id cannot be a key, or ``updated_at`` has no zone or lies in the future.
    """
    check_user_id(user_id)
    if updated_at.tzinfo is None:
        raise InvalidInputError("updated_at", "has no time zone; pass UTC")
    if updated_at > now + MAXIMUM_CLOCK_SKEW:
        raise InvalidInputError(
            "updated_at", f"{updated_at.isoformat()} lies in the future; it would block every later event"
        )
    return history[-HISTORY_LIMIT:], updated_at.astimezone(UTC).replace(microsecond=0)


def check_not_in_future(newest: datetime | None, now: datetime) -> None:
    """Refuse to materialise rows from the future.

    Raises:
        InvalidInputError: The newest event lies in the future.
    """
    if newest is not None and newest > now + MAXIMUM_CLOCK_SKEW:
        raise InvalidInputError(
            "timestamp",
            f"the data's newest event, {newest.isoformat()}, lies in the future; a row from the future would "
            "block every later event of its user: mend the data or the clock",
        )


def is_expired(updated_at: datetime | None, ttl: timedelta, now: datetime) -> bool:
    """Whether a history is too old to be served. A ttl of zero keeps it for ever."""
    return bool(ttl) and updated_at is not None and now - updated_at > ttl


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


def unknown_user(user_id: str) -> UserFeatures:
    """The row of a user of whom nothing is known yet."""
    return UserFeatures(user_id, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, history=(), updated_at=None)
