"""A file that says who has which tokens: read with suspicion, changed whole."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from streamrec.contracts.canonical_json import parse_json
from streamrec.contracts.errors import DocumentRefusedError, InvalidInputError, NotFoundError
from streamrec.documents.refusals import Refusal
from streamrec.files.durable_files import make_folder, write_atomically
from streamrec.files.locks import only_writer_of

_MODE: Final = 0o600
_MUST_NOT: Final = stat.S_IWGRP | stat.S_IRWXO
"""Whoever can write the file can make a token. A group may read it, as Kubernetes mounts secrets: from
digests nobody gets a token."""

T = TypeVar("T")


class TokenFile(Generic[T]):
    """Reads and changes one file. Changes by several processes happen one after the other."""

    def __init__(
        self,
        path: Path,
        parse: Callable[[Mapping[str, Any]], T],
        to_json: Callable[[T], dict[str, Any]],
        *,
        maximum_bytes: int,
        missing: str,
    ) -> None:
        """Nothing is read yet.

        Args:
            path: Where it lies.
            parse: Reads the document; raises `InvalidInputError`.
            to_json: Writes it.
            maximum_bytes: A larger file is refused.
            missing: What to say where there is no file.
        """
        self.path = path
        self._parse, self._to_json = parse, to_json
        self._maximum_bytes, self._missing = maximum_bytes, missing

    def read(self) -> T:
        """Return what the file says.

        Raises:
            NotFoundError: There is no file.
            DocumentRefusedError: It cannot be read, others may change it, or it is damaged; says what to do.
        """
        try:
            content = self._content()
        except FileNotFoundError as error:
            raise NotFoundError(self._missing) from error
        except OSError as error:
            raise DocumentRefusedError(
                Refusal.UNREADABLE, f"{self.path} cannot be read: {error.strerror}"
            ) from error
        if len(content) > self._maximum_bytes:
            raise DocumentRefusedError(
                Refusal.TOO_LARGE, f"{self.path} has more than {self._maximum_bytes} bytes"
            )
        try:
            document = parse_json(content, maximum_bytes=self._maximum_bytes)
        except InvalidInputError as error:
            raise DocumentRefusedError(
                Refusal.MALFORMED, f"{self.path} is damaged: it {error.problem}"
            ) from error
        try:
            return self._parse(document)
        except InvalidInputError as error:
            raise DocumentRefusedError(Refusal.INVALID_CONTENT, f"{self.path} is damaged: {error}") from error

    def change(self, change: Callable[[T], T], or_else: T | None = None) -> None:
        """Replace what the file says by what ``change`` makes of it.

        Args:
            change: Called with what it says now, while nobody else changes it.
            or_else: What it is called with where there is no file; None: then there must be one.

        Raises:
            NotFoundError: There is no file.
            DocumentRefusedError: As in `read`.
            InvalidInputError: What would be written could not be read again.
        """
        make_folder(self.path.parent)
        with only_writer_of(self.path):
            try:
                before = self.read()
            except NotFoundError:
                if or_else is None:
                    raise
                before = or_else
            after = self._to_json(change(before))
            self._parse(after)  # names, numbers of tokens and holders: the checks are those of reading
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
            return file.read(self._maximum_bytes + 1)
