"""What the stages knew of a user, as it is kept beside a slate that was drawn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from services.recommendations.contracts.candidates import Segment, UserState
from streamrec.contracts.canonical_json import canonical_json
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.json_documents import STRICT, document_json, read_document

STATE_SCHEMA: Final = "recommendations.user_state.v1"

MAXIMUM_STATE_BYTES: Final = 16 * 1024
"""Of one document. Slates are drawn for users with few interactions, whose state takes some hundred bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    __pydantic_config__ = STRICT

    schema: Literal["recommendations.user_state.v1"] = STATE_SCHEMA
    country: str
    language: str
    age_band: str
    signup_channel: str
    history: tuple[str, ...]
    disliked: tuple[str, ...]
    skipped: tuple[str, ...]
    skip_ages_hours: tuple[int, ...] = ()
    shown: tuple[str, ...] = ()


def state_document(user: UserState, maximum_bytes: int = MAXIMUM_STATE_BYTES) -> dict[str, Any] | None:
    """Plain JSON values of the state, without the user's id, which the event has as its unit.

    None where they would take more than ``maximum_bytes``.
    """
    document = document_json(
        _Document(
            **asdict(user.segment),
            history=user.history,
            disliked=user.disliked,
            skipped=user.skipped,
            skip_ages_hours=user.skip_ages_hours,
            shown=user.shown,
        )
    )
    return document if len(canonical_json(document)) <= maximum_bytes else None


def state_of(user_id: str, document: Mapping[str, Any]) -> UserState:
    """Read what `state_document` wrote.

    Raises:
        InvalidInputError: A field is missing, unknown or of another type, or an age is missing or negative.
    """
    read = read_document(_Document, document, path="features")
    segment = Segment(read.country, read.language, read.age_band, read.signup_channel)
    ages = read.skip_ages_hours
    if ages and (len(ages) != len(read.skipped) or min(ages) < 0):
        raise InvalidInputError("features.skip_ages_hours", "must be one of 0 or more for each skip, or none")
    return UserState(
        user_id,
        segment,
        read.history,
        disliked=read.disliked,
        skipped=read.skipped,
        skip_ages_hours=ages,
        shown=read.shown,
    )


def state_digest(user: UserState) -> str:
    """Return the SHA-256 of what the stages knew of the user, hexadecimal.

    Over the JSON object of the `UserState` in the form of RFC 8785. All values are texts and whole numbers,
    and for these the standard library writes that form, in a tenth of a millisecond for the longest history.
    Where no skip has an age, or no page came before, the object does not name the ages or the items shown:
    states of before these were kept keep their digests.
    """
    document: dict[str, Any] = {
        "user_id": user.user_id,
        "segment": asdict(user.segment),
        "history": user.history,
        "disliked": user.disliked,
        "skipped": user.skipped,
    }
    if user.skip_ages_hours:
        document["skip_ages_hours"] = user.skip_ages_hours
    if user.shown:
        document["shown"] = user.shown
    content = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()
