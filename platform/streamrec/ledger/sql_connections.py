"""Connections to the ledger's database: SQLite in a file, or PostgreSQL.

Both are told to have everything on the disk when a transaction ends, and both let one writer through at a
time: SQLite by ``BEGIN IMMEDIATE``, PostgreSQL by an advisory lock that ends with the transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import NullPool

from streamrec.contracts.errors import (
    ArtifactError,
    DependencyError,
    InvalidInputError,
    NotReadyError,
    OverloadedError,
    StreamRecError,
)

WAIT_S: Final = 10
"""How long a writer waits for those before it. Each holds the lock for some milliseconds."""

ROWS_IN_MEMORY: Final = 100
"""Rows that are read ahead; with the largest evidence beside each, a hundred mebibytes."""

_CONNECT_TIMEOUT_S: Final = 5
_ADVISORY_LOCK: Final = 7_310_579_633_144_201_589
"""One number for every ledger: two in one database wait for each other, which does no harm."""
_SYNCHRONOUS: Final = (
    "SELECT set_config('synchronous_commit', 'on', true)"
    " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
)
"""A server may be told to acknowledge what is not on the disk yet; stricter settings stay."""

_SQLITE_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SQLITE_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
"""Also what SQLite calls a plain error: a table or a column that the statement names is gone."""
_POSTGRESQL_BUSY: Final = frozenset({"55P03", "40001", "40P01", "53300"})
"""Lock not available, serialisation failure, deadlock, too many connections."""
_POSTGRESQL_DAMAGED: Final = frozenset({"42P01", "42703", "XX001", "XX002"})
"""A table or a column is gone, data or an index is corrupted."""


class ConnectionLostError(DependencyError):
    """The connection ended within a transaction; whether it was committed is for the caller to find out."""


class LedgerDatabase:
    """The database of one ledger."""

    def __init__(self, url: str) -> None:
        """Set it up; nothing is connected to yet.

        Args:
            url: ``sqlite:///PATH`` or ``postgresql://USER:PASSWORD@HOST/DATABASE``.

        Raises:
            InvalidInputError: It is neither.
            NotReadyError: The driver for PostgreSQL is not installed.
        """
        self.url = _checked_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.place = str(self.url.database) if self.is_sqlite else self.url.render_as_string()
        self._engine = _sqlite_engine(self.url) if self.is_sqlite else _postgresql_engine(self.url)

    @property
    def sqlite_file(self) -> Path | None:
        """Where SQLite keeps it; None for PostgreSQL."""
        return Path(self.place) if self.is_sqlite else None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Connect and read what is committed.

        Raises:
            TemporaryError: The database does not answer, or cannot be read.
            ArtifactError: SQLite's file is damaged.
        """
        with self._translated_errors("read"), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Be the only writer for the body, and commit behind it.

        Raises:
            ConnectionLostError: The server went away; what was done in the body may be committed.
            TemporaryError: The database does not answer, others write for too long, or the disk is full; then
                nothing was written.
            ArtifactError: SQLite's file is damaged.
        """
        with self._translated_errors("written"), self._engine.connect() as connection:
            only_writer = connection.execution_options(streamrec_writes=True)
            with only_writer.begin():
                if not self.is_sqlite:
                    connection.exec_driver_sql(_SYNCHRONOUS)
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WAIT_S}s'")
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
                yield only_writer

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    @contextmanager
    def _translated_errors(self, done: str) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise _translated(error, f"the ledger {self.place} cannot be {done}") from error
        except PoolTimeoutError as error:
            raise OverloadedError(
                f"the ledger {self.place} cannot be {done}: all connections of this process are in use; "
                "try again"
            ) from error
        except SQLAlchemyError as error:
            raise DependencyError(f"the ledger {self.place} cannot be {done}: {_short(error)}") from error


def _checked_url(text: str) -> URL:
    expected = "must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE"
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise InvalidInputError("ledger", expected) from error
    backend = url.get_backend_name()
    if backend == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if backend == "sqlite" and url.database and url.database != ":memory:":
        return url.set(drivername="sqlite+pysqlite")
    raise InvalidInputError("ledger", f"{expected}, not {url.render_as_string()[:200]!a}")


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": WAIT_S})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # Transactions begin where this module says so, not where the driver guesses.
        connection.isolation_level = None
        # What a hand put there may not be text; it is to be named as a bad entry, not to end the reading.
        connection.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
        for pragma in ("synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("streamrec_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql_engine(url: URL) -> Engine:
    settings = {
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "application_name": "streamrec-ledger",
        "tcp_user_timeout": 1_000 * WAIT_S,  # a server that vanished is noticed
    }
    # A connection for each call: entries are rare, the server's places are few, and none of them goes stale.
    try:
        return create_engine(url, connect_args=settings, poolclass=NullPool, isolation_level="READ COMMITTED")
    except ModuleNotFoundError as error:
        raise NotReadyError(
            f"a ledger on PostgreSQL needs the package {error.name}: pip install 'streamrec[postgres]'"
        ) from error


def _translated(error: DBAPIError, problem: str) -> StreamRecError:
    """The platform's error for one of a driver; the statement and its values are not shown."""
    cause: Any = error.orig
    message = f"{problem}: {_short(cause)}"
    # The low byte says what happened, the rest says more about the same.
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    state = getattr(cause, "sqlstate", None)
    if code in _SQLITE_BUSY:
        return OverloadedError(f"{problem}: others have been writing for more than {WAIT_S} s; try again")
    if state in _POSTGRESQL_BUSY:
        return OverloadedError(f"{message}; try again")
    if code in _SQLITE_DAMAGED or state in _POSTGRESQL_DAMAGED:
        return ArtifactError(
            f"{problem}: it is damaged ({_short(cause)}); keep it as it is, and put back the newest copy "
            "that verifies"
        )
    return ConnectionLostError(message) if error.connection_invalidated else DependencyError(message)


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
