"""What every store does alike with a user's row, so that the twin and the adapters cannot differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from streamrec.contracts.conventions import MAXIMUM_CLOCK_SKEW, UNKNOWN
from streamrec.contracts.errors import InvalidInputError
from streamrec.features.store import UserFeatures
from streamrec.features.user_actions import TimedItems, UserAction

MAX_USER_ID_CHARACTERS: Final = 256


def check_user_id(user_id: str) -> None:
    """Refuse what cannot be a key.

    Raises:
        InvalidInputError: ``user_id`` is empty or too long.
    """
    if not user_id or len(user_id) > MAX_USER_ID_CHARACTERS:
        raise InvalidInputError("user_id", f"must have 1 to {MAX_USER_ID_CHARACTERS} characters")


def check_actions(actions: Mapping[str, Sequence[UserAction]], now: datetime) -> None:
    """Refuse actions that no row may hold.

    Raises:
        InvalidInputError: A user's id cannot be a key, or a time has no zone or lies in the future.
    """
    for user_id, acted in actions.items():
        check_user_id(user_id)
        for action in acted:
            if action.occurred_at.tzinfo is None:
                raise InvalidInputError("occurred_at", "has no time zone; pass UTC")
            if action.occurred_at > now + MAXIMUM_CLOCK_SKEW:
                raise InvalidInputError("occurred_at", f"{action.occurred_at.isoformat()} lies in the future")


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


def as_served(features: UserFeatures, history_ttl: timedelta, now: datetime) -> UserFeatures:
    """The row without a history that is too old to be served. A ttl of zero keeps it for ever.

    Dislikes have no age: what somebody never wants to see again stays away.
    """
    if not history_ttl or features.updated_at is None or now - features.updated_at <= history_ttl:
        return features
    return replace(features, activity=replace(features.activity, history=TimedItems()))


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


def unknown_user(user_id: str) -> UserFeatures:
    """The row of a user of whom nothing is known yet."""
    return UserFeatures(user_id, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
