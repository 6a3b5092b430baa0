"""The callers file on disk: read with suspicion, changed whole."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from streamrec.callers.tokens import NewToken, new_token
from streamrec.contracts.callers import (
    CALLER_NAME_PATTERN,
    MAXIMUM_NAME_CHARACTERS,
    Caller,
    CallerLimit,
    Callers,
)
from streamrec.contracts.canonical_json import parse_json
from streamrec.contracts.errors import (
    DocumentRefusedError,
    InvalidInputError,
    NotFoundError,
    StreamRecError,
)
from streamrec.documents.refusals import Refusal
from streamrec.files.durable_files import make_folder, write_atomically
from streamrec.files.locks import only_writer_of

MAXIMUM_BYTES: Final = 4 * 1024 * 1024
"""As many callers as there may be, with as many tokens, take about 2.5 MB."""

_MODE: Final = 0o600
_MUST_NOT: Final = stat.S_IWGRP | stat.S_IRWXO
"""Whoever can write the file can make a token. A group may read it, as Kubernetes mounts secrets: from
digests nobody gets a token."""

_NOBODY: Final = Callers(default_limit=None, callers=())


class CallersFile:
    """Reads and changes the file. Changes by several processes happen one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Callers:
        """Return what the file says.

        Raises:
            NotFoundError: There is no file.
            DocumentRefusedError: It cannot be read, others may change it, or it is damaged; says what to do.
        """
        try:
            content = self._content()
        except FileNotFoundError as error:
            raise NotFoundError(
                f"there is no callers file {self.path}: make it with 'streamrec callers add NAME'"
            ) from error
        except OSError as error:
            raise DocumentRefusedError(
                Refusal.UNREADABLE, f"{self.path} cannot be read: {error.strerror}"
            ) from error
        if len(content) > MAXIMUM_BYTES:
            raise DocumentRefusedError(Refusal.TOO_LARGE, f"{self.path} has more than {MAXIMUM_BYTES} bytes")
        try:
            document = parse_json(content, maximum_bytes=MAXIMUM_BYTES)
        except InvalidInputError as error:
            raise DocumentRefusedError(
                Refusal.MALFORMED, f"{self.path} is damaged: it {error.problem}"
            ) from error
        try:
            return Callers.from_json(document)
        except InvalidInputError as error:
            raise DocumentRefusedError(Refusal.INVALID_CONTENT, f"{self.path} is damaged: {error}") from error

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

        self._change(add, or_else=_NOBODY)
        return token

    def rotate(self, name: str, now: datetime, lifetime: timedelta, overlap: timedelta) -> NewToken:
        """Give a caller a new token; its others are refused once ``overlap`` is over.

        Raises:
            NotFoundError: There is no such caller.
        """
        token = new_token(now, now + lifetime)

        def rotate(caller: Caller) -> Caller:
            old = (
                replace(old, expires_at=min(old.expires_at, now + overlap))
                for old in caller.tokens
                if old.expires_at > now and overlap > timedelta(0)
            )
            return replace(caller, tokens=(*old, token.kept))

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
            self._change(lambda callers: replace(callers, default_limit=limit), or_else=_NOBODY)
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

        self._change(change_one)

    def _change(self, change: Callable[[Callers], Callers], or_else: Callers | None = None) -> None:
        make_folder(self.path.parent)
        with only_writer_of(self.path):
            try:
                before = self.read()
            except NotFoundError:
                if or_else is None:
                    raise
                before = or_else
            after = change(before).to_json()
            Callers.from_json(after)  # names, numbers of tokens and callers: the checks are those of reading
            content = json.dumps(after, indent=2, ensure_ascii=False).encode() + b"\n"
            write_atomically(self.path, content, mode=_MODE)

    def _content(self) -> bytes:
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DocumentRefusedError(Refusal.UNREADABLE, f"{self.path} is no file")
            if status.st_mode & _MUST_NOT:
                raise DocumentRefusedError(
                    Refusal.UNREADABLE,
                    f"{self.path} may be changed or read by others: chmod {_MODE:o} {self.path}",
                )
            return file.read(MAXIMUM_BYTES + 1)


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
