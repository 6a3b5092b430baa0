"""Outcomes joined to the impressions that they answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from streamrec.contracts.conventions import MAXIMUM_CLOCK_SKEW
from streamrec.contracts.events import Impression, Outcome


class Unjoined(StrEnum):
    """Why an outcome belongs to no impression."""

    NO_REQUEST_ID = "no_request_id"
    UNKNOWN_REQUEST = "unknown_request"
    OTHER_USER = "other_user"
    ITEM_NOT_SHOWN = "item_not_shown"
    OUTSIDE_WINDOW = "outside_window"


@dataclass(frozen=True, slots=True)
class JoinedOutcome:
    """An outcome and what was shown.

    Attributes:
        impression: The answer it belongs to.
        position: Where the item stood, 0 for the first.
        outcome: What the user did.
    """

    impression: Impression
    position: int
    outcome: Outcome


@dataclass(frozen=True)
class Join:
    """The result of a join. ``joined`` and ``unjoined`` together count every outcome.

    Attributes:
        joined: In the order of the outcomes.
        unjoined: Number of the others, by reason.
    """

    joined: tuple[JoinedOutcome, ...]
    unjoined: Mapping[Unjoined, int]


def join_outcomes(
    impressions: Iterable[Impression], outcomes: Iterable[Outcome], *, window: timedelta
) -> Join:
    """Join outcomes to impressions by request id and item id.

    An outcome counts from `MAXIMUM_CLOCK_SKEW` before its impression (the client's clock may lag) to
    ``window`` after it.

    Args:
        impressions: At most one for each request id, as in `EventSnapshot`.
        outcomes: At most one for each event id.
        window: How long after an impression an outcome still belongs to it.
    """
    by_request = {impression.request_id: impression for impression in impressions}
    joined: list[JoinedOutcome] = []
    unjoined: Counter[Unjoined] = Counter()
    for outcome in outcomes:
        match = _match(by_request, outcome, window)
        if isinstance(match, Unjoined):
            unjoined[match] += 1
        else:
            joined.append(match)
    return Join(tuple(joined), dict(unjoined))


def _match(
    by_request: Mapping[str, Impression], outcome: Outcome, window: timedelta
) -> JoinedOutcome | Unjoined:
    if outcome.request_id is None:
        return Unjoined.NO_REQUEST_ID
    impression = by_request.get(outcome.request_id)
    if impression is None:
        return Unjoined.UNKNOWN_REQUEST
    if impression.user_id != outcome.user_id:
        return Unjoined.OTHER_USER
    if outcome.item_id not in impression.item_ids:
        return Unjoined.ITEM_NOT_SHOWN
    if not -MAXIMUM_CLOCK_SKEW <= outcome.occurred_at - impression.served_at <= window:
        return Unjoined.OUTSIDE_WINDOW
    return JoinedOutcome(impression, impression.item_ids.index(outcome.item_id), outcome)
