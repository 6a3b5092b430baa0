"""Caller tokens: 256 random bits behind a public id, and the digest by which they are known."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

from streamrec.contracts.callers import TOKEN_ID_PATTERN, CallerToken

_PREFIX: Final = "streamrec"
"""Tells programs that look for secrets in the wrong places what they have found."""

_ID_BYTES: Final = 6
_SECRET_BYTES: Final = 32
_SECRET_CHARACTERS: Final = 43
_NOBODYS_DIGEST: Final = "0" * 64
"""Compared with where no token has the id, so that an unknown id takes as long as a wrong secret."""

_TOKEN: Final = re.compile(f"{_PREFIX}_({TOKEN_ID_PATTERN})_[A-Za-z0-9_-]{{{_SECRET_CHARACTERS}}}", re.ASCII)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made.

    Attributes:
        secret: What the caller sends. Shown once, kept by nobody here.
        kept: What the callers file holds of it.
    """

    secret: str = field(repr=False)
    kept: CallerToken


def new_token(created_at: datetime, expires_at: datetime) -> NewToken:
    """Make a token from the system's source of randomness."""
    token_id = secrets.token_hex(_ID_BYTES)
    secret = f"{_PREFIX}_{token_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    return NewToken(secret, CallerToken(token_id, digest_of(secret), created_at, expires_at))


def token_id_of(token: str) -> str | None:
    """The public id inside a token; None where it has not the form of one."""
    found = _TOKEN.fullmatch(token)
    return found[1] if found else None


def digest_of(token: str) -> str:
    """SHA-256 of a token, hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


def holder_of(token: str, holders: Mapping[str, tuple[T, CallerToken, float]], now_s: float) -> T | None:
    """Whose token it is; None where it is malformed, unknown, revoked or expired: the answer says not which.

    Args:
        token: What was sent.
        holders: By token id: the holder, the kept token, and when it expires, in seconds since 1970.
        now_s: Seconds since 1970.
    """
    holder, kept, expires_at_s = holders.get(token_id_of(token) or "", (None, None, 0.0))
    digest = _NOBODYS_DIGEST if kept is None else kept.sha256
    # The digest first, whatever else is wrong; its comparison takes the same time wherever they differ.
    known = hmac.compare_digest(digest_of(token), digest)
    return holder if known and now_s < expires_at_s else None


def rotated(
    tokens: Iterable[CallerToken], new: CallerToken, now: datetime, overlap: timedelta
) -> tuple[CallerToken, ...]:
    """The tokens with a new one; the others are refused once ``overlap`` is over, and gone where it is 0."""
    old = (
        replace(token, expires_at=min(token.expires_at, now + overlap))
        for token in tokens
        if token.expires_at > now and overlap > timedelta(0)
    )
    return (*old, new)
