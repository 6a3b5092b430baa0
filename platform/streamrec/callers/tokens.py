"""Caller tokens: 256 random bits behind a public id, and the digest by which they are known."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from streamrec.contracts.callers import TOKEN_ID_PATTERN, CallerToken

_PREFIX: Final = "streamrec"
"""Tells programs that look for secrets in the wrong places what they have found."""

_ID_BYTES: Final = 6
_SECRET_BYTES: Final = 32
_SECRET_CHARACTERS: Final = 43
_TOKEN: Final = re.compile(f"{_PREFIX}_({TOKEN_ID_PATTERN})_[A-Za-z0-9_-]{{{_SECRET_CHARACTERS}}}", re.ASCII)


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
