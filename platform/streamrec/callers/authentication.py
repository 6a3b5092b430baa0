"""Telling callers apart by what they send."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from streamrec.callers.tokens import holder_of
from streamrec.contracts.callers import Caller, Callers, CallerToken

_SCHEME: Final = "bearer"
_LONGEST_HEADER: Final = 256


class CallerDirectory:
    """The callers of one version of the file, by their tokens."""

    def __init__(self, callers: Callers, clock: Callable[[], float] = time.time) -> None:
        """Take the callers over.

        Args:
            callers: The file.
            clock: Seconds since 1970; tokens expire by it.
        """
        self.default_limit = callers.default_limit
        self.names = frozenset(caller.name for caller in callers.callers)
        self._clock = clock
        self._by_id: dict[str, tuple[Caller, CallerToken, float]] = {
            token.token_id: (caller, token, token.expires_at.timestamp())
            for caller in callers.callers
            for token in caller.tokens
        }

    def identify(self, authorization: Sequence[str]) -> Caller | None:
        """Who sent a request with these ``Authorization`` headers; None where that is nobody who may.

        A missing header, another scheme, and a token that is malformed, unknown, revoked or expired all end
        alike: the answer must not say which.
        """
        return holder_of(_bearer_token(authorization), self._by_id, self._clock())


def _bearer_token(authorization: Sequence[str]) -> str:
    """The token of a header of RFC 6750; empty where there is none, or more than one header."""
    if len(authorization) != 1 or len(authorization[0]) > _LONGEST_HEADER:
        return ""
    scheme, _, token = authorization[0].strip().partition(" ")
    return token.strip() if scheme.lower() == _SCHEME else ""
