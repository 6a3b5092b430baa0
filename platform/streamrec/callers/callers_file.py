"""The callers file on disk: read with suspicion, changed whole."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from streamrec.callers.token_file import TokenFile
from streamrec.callers.tokens import NewToken, new_token, rotated
from streamrec.contracts.callers import (
    CALLER_NAME_PATTERN,
    MAXIMUM_NAME_CHARACTERS,
    Caller,
    CallerLimit,
    Callers,
)
from streamrec.contracts.errors import (
    DocumentRefusedError,
    InvalidInputError,
    NotFoundError,
    StreamRecError,
)
from streamrec.documents.refusals import Refusal

MAXIMUM_BYTES: Final = 4 * 1024 * 1024
"""As many callers as there may be, with as many tokens, take about 2.5 MB."""

_NOBODY: Final = Callers(default_limit=None, callers=())


class CallersFile:
    """Reads and changes the file. Changes by several processes happen one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TokenFile[Callers] = TokenFile(
            path,
            Callers.from_json,
            Callers.to_json,
            maximum_bytes=MAXIMUM_BYTES,
            missing=f"there is no callers file {path}: make it with 'streamrec callers add NAME'",
        )

    def read(self) -> Callers:
        """Return what the file says.

        Raises:
            NotFoundError: There is no file.
            DocumentRefusedError: It cannot be read, others may change it, or it is damaged; says what to do.
        """
        return self._file.read()

    def add(self, name: str, limit: CallerLimit | None, now: datetime, lifetime: timedelta) -> NewToken:
        """Let a new caller in; the file is made where there is none.

        Raises:
            InvalidInputError: The name is no name or taken, or there are as many callers as there may be.
        """
        if len(name) > MAXIMUM_NAME_CHARACTERS or not re.fullmatch(CALLER_NAME_PATTERN, name):
            raise InvalidInputError(
                "name",
                f"must be lower-case letters and digits, in words joined by dashes, at most "
                f"{MAXIMUM_NAME_CHARACTERS} characters",
            )
        token = new_token(now, now + lifetime)

        def add(callers: Callers) -> Callers:
            if callers.named(name) is not None:
                raise InvalidInputError(
                    "name", f"{name} is a caller already: 'streamrec callers rotate {name}' makes a token"
                )
            return replace(callers, callers=(*callers.callers, Caller(name, (token.kept,), limit)))

        self._file.change(add, or_else=_NOBODY)
        return token

    def rotate(self, name: str, now: datetime, lifetime: timedelta, overlap: timedelta) -> NewToken:
        """Give a caller a new token; its others are refused once ``overlap`` is over.

        Raises:
            NotFoundError: There is no such caller.
        """
        token = new_token(now, now + lifetime)

        def rotate(caller: Caller) -> Caller:
            return replace(caller, tokens=rotated(caller.tokens, token.kept, now, overlap))

        self._change_caller(name, rotate)
        return token

    def revoke(self, name: str, token_id: str | None) -> None:
        """Refuse a caller, or one of its tokens, from now on.

        Raises:
            NotFoundError: There is no such caller, or it has no such token.
        """

        def revoke(caller: Caller) -> Caller | None:
            if token_id is None:
                return None
            left = tuple(token for token in caller.tokens if token.token_id != token_id)
            if len(left) == len(caller.tokens):
                raise NotFoundError(f"{name} has no token {token_id}: 'streamrec callers list' shows them")
            return replace(caller, tokens=left)

        self._change_caller(name, revoke)

    def limit(self, name: str | None, limit: CallerLimit | None) -> None:
        """Limit a caller, or all that have no limit of their own (``name`` None).

        Raises:
            NotFoundError: There is no such caller.
        """
        if name is None:
            self._file.change(lambda callers: replace(callers, default_limit=limit), or_else=_NOBODY)
        else:
            self._change_caller(name, lambda caller: replace(caller, limit=limit))

    def _change_caller(self, name: str, change: Callable[[Caller], Caller | None]) -> None:
        def change_one(callers: Callers) -> Callers:
            caller = callers.named(name)
            if caller is None:
                raise NotFoundError(f"there is no caller {name!r}: 'streamrec callers list' shows them")
            changed = change(caller)
            return replace(
                callers,
                callers=tuple(
                    kept
                    for kept in (changed if other is caller else other for other in callers.callers)
                    if kept is not None
                ),
            )

        self._file.change(change_one)


def stamp_of(path: Path) -> tuple[int, ...] | None:
    """What changes whenever a file is changed or replaced; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_mode)


def refusal_of(error: StreamRecError) -> str:
    """The word under which a reading that failed is counted."""
    return error.code if isinstance(error, DocumentRefusedError) else Refusal.UNREADABLE
