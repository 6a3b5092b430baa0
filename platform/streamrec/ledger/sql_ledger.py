"""A ledger in SQL: SQLite in a workspace, PostgreSQL where several machines append."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, insert, literal, select
from sqlalchemy.engine import URL

from streamrec.contracts.errors import DependencyError, NotFoundError, StreamRecError
from streamrec.contracts.ledger_entry import EntryKind, LedgerEntry
from streamrec.ledger.ledger import (
    Decision,
    EvidenceContent,
    StoredEntry,
    UnlessNewer,
    chained,
    checked_until,
    newer_entry,
    prepared,
    read_evidence,
)
from streamrec.ledger.memory_ledger import utc_now
from streamrec.ledger.sql_connections import ROWS_IN_MEMORY, ConnectionLostError, LedgerDatabase
from streamrec.ledger.sql_schema import bring_up_to_date
from streamrec.ledger.sql_tables import (
    ENTRIES,
    EVIDENCE,
    entry_of,
    microseconds,
    row_of,
    stored_entry_of,
)


class SqlLedger:
    """Implements `Ledger`. Triggers of the database refuse whatever is no new entry at the end."""

    def __init__(self, url: str, *, clock: Callable[[], datetime] = utc_now) -> None:
        """Open it; the first one to do so makes its tables, and a newer release brings them up to date.

        Args:
            url: ``sqlite:///PATH`` or ``postgresql://USER:PASSWORD@HOST/DATABASE``.
            clock: The time of new entries.

        Raises:
            InvalidInputError: The URL names no database that can hold a ledger.
            NotReadyError: A newer release has written it, or PostgreSQL's driver is not installed.
            TemporaryError: The database does not answer or cannot be written.
            ArtifactError: SQLite's file is damaged.
        """
        self._clock = clock
        self._database = LedgerDatabase(url)
        try:
            bring_up_to_date(self._database)
        except StreamRecError:
            self._database.close()
            raise

    @classmethod
    def in_file(cls, path: Path, *, clock: Callable[[], datetime] = utc_now) -> SqlLedger:
        """Open one in an SQLite file; made, with its folder, where there is none."""
        url = URL.create("sqlite", database=str(path.absolute()))
        return cls(url.render_as_string(hide_password=False), clock=clock)

    def close(self) -> None:
        """Let go of every connection; the next call connects again."""
        self._database.close()

    def append(self, decision: Decision) -> LedgerEntry:
        """See `Ledger.append`."""
        return self.append_all((decision,))[0]

    def append_all(
        self, decisions: Sequence[Decision], *, unless_newer: UnlessNewer | None = None
    ) -> tuple[LedgerEntry, ...]:
        """See `Ledger.append_all`."""
        ready = prepared(decisions)
        added: tuple[LedgerEntry, ...] = ()
        if not ready:
            return added
        try:
            with self._database.writing() as connection:
                if unless_newer is not None:
                    _check_newer(connection, unless_newer)
                added = self._append(connection, ready)
        except ConnectionLostError as error:
            if not added or not self._was_committed(added[-1], error):
                raise
        return added

    def entries(
        self,
        *,
        kinds: Collection[EntryKind] = (),
        subject: str | None = None,
        after_seq: int = 0,
        until: datetime | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> Iterator[LedgerEntry]:
        """See `Ledger.entries`."""
        checked_until(until)
        wanted = select(ENTRIES).where(ENTRIES.c.seq > after_seq)
        if kinds:
            wanted = wanted.where(ENTRIES.c.kind.in_(sorted(kind.value for kind in kinds)))
        if subject is not None:
            wanted = wanted.where(ENTRIES.c.subject == subject)
        if until is not None:
            wanted = wanted.where(ENTRIES.c.at_us <= microseconds(until))
        wanted = wanted.order_by(ENTRIES.c.seq.desc() if newest_first else ENTRIES.c.seq)
        return map(entry_of, self._rows(wanted.limit(limit)))

    def evidence(self, digest: str) -> Mapping[str, Any]:
        """See `Ledger.evidence`."""
        with self._database.reading() as connection:
            content = connection.scalar(select(EVIDENCE.c.content).where(EVIDENCE.c.digest == digest))
        if content is None:
            raise NotFoundError(f"no evidence is stored under {digest}")
        return read_evidence(digest, content)

    def last(self) -> LedgerEntry | None:
        """See `Ledger.last`."""
        with self._database.reading() as connection:
            return _last(connection)

    def stored(self, *, after_seq: int = 0) -> Iterator[StoredEntry]:
        """See `Ledger.stored`."""
        joined = ENTRIES.outerjoin(EVIDENCE, EVIDENCE.c.digest == ENTRIES.c.evidence_digest)
        wanted = (
            select(ENTRIES, EVIDENCE.c.content)
            .select_from(joined)
            .where(ENTRIES.c.seq > after_seq)
            .order_by(ENTRIES.c.seq)
        )
        return map(stored_entry_of, self._rows(wanted))

    def _rows(self, wanted: Select[Any]) -> Iterator[Any]:
        with self._database.reading() as connection:
            few_at_a_time = connection.execution_options(yield_per=ROWS_IN_MEMORY)
            with few_at_a_time.execute(wanted) as rows:
                yield from rows

    def _append(
        self, connection: Connection, ready: Sequence[tuple[Decision, EvidenceContent | None]]
    ) -> tuple[LedgerEntry, ...]:
        added = chained(_last(connection), ready, self._clock())
        for _, evidence in ready:
            if evidence is not None:
                connection.execute(_insert_once(evidence))
        connection.execute(insert(ENTRIES), [row_of(entry) for entry in added])
        return added

    def _was_committed(self, entry: LedgerEntry, lost: ConnectionLostError) -> bool:
        """Whether a transaction whose connection was lost came through."""
        try:
            # As a writer: the lost transaction is over once its lock is free.
            with self._database.writing() as connection:
                found = connection.scalar(select(ENTRIES.c.hash).where(ENTRIES.c.seq == entry.seq))
        except StreamRecError as error:
            raise DependencyError(
                f"{lost}; whether entry {entry.seq} was appended cannot be seen: look at the last entries "
                "before you try again"
            ) from error
        return bool(found == entry.hash)


def _check_newer(connection: Connection, condition: UnlessNewer) -> None:
    """Called as the only writer, so that what is found stays true until the entries are committed."""
    wanted = (
        select(ENTRIES)
        .where(ENTRIES.c.seq > condition.seq)
        .where(ENTRIES.c.kind.in_(sorted(kind.value for kind in condition.kinds)))
        .order_by(ENTRIES.c.seq)
        .limit(1)
    )
    row = connection.execute(wanted).first()
    if row is not None:
        raise newer_entry(condition, entry_of(row))


def _last(connection: Connection) -> LedgerEntry | None:
    row = connection.execute(select(ENTRIES).order_by(ENTRIES.c.seq.desc()).limit(1)).first()
    return None if row is None else entry_of(row)


def _insert_once(evidence: EvidenceContent) -> Any:
    """Insert it unless it is there; what is there is never replaced, and the triggers would refuse it."""
    is_there = select(EVIDENCE.c.digest).where(EVIDENCE.c.digest == evidence.digest).exists()
    row = select(
        literal(evidence.digest, EVIDENCE.c.digest.type), literal(evidence.content, EVIDENCE.c.content.type)
    )
    return insert(EVIDENCE).from_select(["digest", "content"], row.where(~is_there))
