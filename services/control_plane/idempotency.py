"""Answers to changes, kept by their key for a day, in a file that survives a restart."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from streamrec.contracts.errors import DependencyError
from streamrec.files.durable_files import make_folder

KEPT_S: Final = 86_400.0
MAXIMUM_KEPT: Final = 10_000
_MAXIMUM_ANSWER_BYTES: Final = 1_048_576
_BUSY_TIMEOUT_S: Final = 5.0


class Repetition(StrEnum):
    """Why a key that was used before gets no answer."""

    UNDER_WAY = "under_way"
    OTHER_REQUEST = "other_request"

    @property
    def words(self) -> str:
        """For whoever sent it."""
        if self is Repetition.UNDER_WAY:
            return (
                "the request with this key has not ended, or its answer was lost with the process: look at "
                "what it was to change before you ask with another key"
            )
        return "another request was sent with this key: use a new one for each change"


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as it was given.

    Attributes:
        status: HTTP status.
        headers: A JSON object.
        body: Its bytes.
    """

    status: int
    headers: str
    body: bytes


class KeptAnswers:
    """The answers of the last day. Safe to use from several threads and processes."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Make the file where there is none.

        Args:
            path: An SQLite file; its folder is made.
            clock: Seconds since 1970.

        Raises:
            DependencyError: It cannot be written.
        """
        self._path, self._clock, self._lock = path, clock, threading.Lock()
        try:
            make_folder(path.parent)
        except OSError as error:
            raise DependencyError(f"{path.parent} cannot be written: {error.strerror}") from error
        self._run(
            "CREATE TABLE IF NOT EXISTS answers (asker TEXT PRIMARY KEY, asked TEXT NOT NULL,"
            " at REAL NOT NULL, status INTEGER, headers TEXT, body BLOB)"
        )

    def begin(self, asker: str, asked: str) -> KeptAnswer | Repetition | None:
        """Reserve a key.

        Args:
            asker: Whose key it is, as a digest of both.
            asked: Digest of the request.

        Returns:
            The first answer, where there was one to the same request; why there is none, where the key was
            used otherwise; None where it is new: go on, then `keep` or `forget`.

        Raises:
            DependencyError: The file cannot be read or written.
        """
        now = self._clock()
        with self._lock:
            self._run("DELETE FROM answers WHERE at < ?", now - KEPT_S)
            self._run(
                "DELETE FROM answers WHERE asker IN"
                " (SELECT asker FROM answers ORDER BY at DESC LIMIT -1 OFFSET ?)",
                MAXIMUM_KEPT,
            )
            added = self._run(
                "INSERT OR IGNORE INTO answers (asker, asked, at) VALUES (?, ?, ?)", asker, asked, now
            )
            if added:
                return None
            found = self._one("SELECT asked, status, headers, body FROM answers WHERE asker = ?", asker)
        if found is None or found[1] is None:
            return Repetition.UNDER_WAY
        if found[0] != asked:
            return Repetition.OTHER_REQUEST
        return KeptAnswer(found[1], found[2], found[3])

    def keep(self, asker: str, answer: KeptAnswer) -> None:
        """Keep the answer to what was begun; one that is too large is not kept, and the key stays used."""
        if len(answer.body) <= _MAXIMUM_ANSWER_BYTES:
            self._run(
                "UPDATE answers SET status = ?, headers = ?, body = ? WHERE asker = ?",
                answer.status,
                answer.headers,
                answer.body,
                asker,
            )

    def forget(self, asker: str) -> None:
        """Free a key whose request came to nothing."""
        self._run("DELETE FROM answers WHERE asker = ?", asker)

    def _run(self, statement: str, *values: object) -> int:
        """Run a statement; returns how many rows it changed."""
        try:
            with closing(sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S)) as connection, connection:
                return connection.execute(statement, values).rowcount
        except sqlite3.Error as error:
            raise DependencyError(f"{self._path} cannot be written: {error}") from error

    def _one(self, statement: str, *values: object) -> tuple[str, int, str, bytes] | None:
        try:
            with closing(sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S)) as connection:
                found: tuple[str, int, str, bytes] | None = connection.execute(statement, values).fetchone()
                return found
        except sqlite3.Error as error:
            raise DependencyError(f"{self._path} cannot be read: {error}") from error
