"""What a ledger's database keeps where things go wrong: several writers, a hand in the tables, a full disk, a
server that dies."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy
from alembic.script import ScriptDirectory
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.command_line.ledger_parts import open_ledger
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import (
    ArtifactError,
    ConflictError,
    InvalidInputError,
    NotReadyError,
    TemporaryError,
)
from streamrec.contracts.ledger_entry import ActorRole, EntryKind
from streamrec.ledger.ledger import Decision, UnlessNewer
from streamrec.ledger.sql_ledger import SqlLedger
from streamrec.ledger.sql_schema import MIGRATIONS, NEWEST
from streamrec.ledger.verification import verify

PROCESSES, APPENDS = 4, 15
FORK = multiprocessing.get_context("fork")
POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.postgres)


@pytest.fixture(params=["sqlite", POSTGRESQL])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'folder' / 'ledger.sqlite'}"
    return request.getfixturevalue("postgres_url")


@contextmanager
def opened(url):
    ledger = SqlLedger(url)
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def by_hand(url):
    """A connection of somebody who may do everything."""
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def decided(subject: str = "toxicity@1", **fields) -> Decision:
    return Decision("mira", ActorRole.SPOKE, EntryKind.GATES_JUDGED, subject, **fields)


def append_many(url, name, started):
    """In a process of its own; several open the ledger, which is not there yet, at the same moment."""
    started.wait()
    with opened(url) as ledger:
        for number in range(APPENDS):
            ledger.append(decided(f"{name}-{number}", evidence={"by": name, "number": number % 3}))


def append_for_ever(url, acknowledged):
    with opened(url) as ledger:
        while True:
            acknowledged.send(ledger.append(decided(evidence={"x": 1})).hash)


def test_several_processes_make_one_chain(url):
    started = FORK.Barrier(PROCESSES)
    writers = [
        FORK.Process(target=append_many, args=(url, f"writer{number}", started))
        for number in range(PROCESSES)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * PROCESSES
    with opened(url) as ledger:
        entries = list(ledger.entries())
        found = verify(ledger.stored())
    assert (found.entries, found.bad) == (PROCESSES * APPENDS, None)
    for number in range(PROCESSES):
        own = [entry.subject for entry in entries if entry.subject.startswith(f"writer{number}-")]
        assert own == [f"writer{number}-{at}" for at in range(APPENDS)]


def append_under_conditions(url, started):
    """Each process tries to append the next entry, as long as another one has not."""
    kinds = frozenset({EntryKind.GATES_JUDGED})
    started.wait()
    with opened(url) as ledger:
        while (last := ledger.last()) is None or last.seq < APPENDS:
            with suppress(ConflictError):
                known = UnlessNewer(kinds, 0 if last is None else last.seq)
                ledger.append_all([decided(f"{0 if last is None else last.seq}")], unless_newer=known)


def test_of_processes_that_append_under_the_same_condition_one_wins_each_time(url):
    started = FORK.Barrier(PROCESSES)
    writers = [FORK.Process(target=append_under_conditions, args=(url, started)) for _ in range(PROCESSES)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * PROCESSES
    with opened(url) as ledger:
        subjects = [entry.subject for entry in ledger.entries()]
        assert verify(ledger.stored()).bad is None
    assert subjects == [str(number) for number in range(APPENDS)]


def test_what_was_acknowledged_survives_the_death_of_the_writer(url):
    with opened(url):
        receiving, sending = FORK.Pipe(duplex=False)
        writer = FORK.Process(target=append_for_ever, args=(url, sending))
        writer.start()
        acknowledged = [receiving.recv() for _ in range(10)]
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        sending.close()
        with suppress(EOFError):
            while True:
                acknowledged.append(receiving.recv())
    with opened(url) as ledger:
        hashes = [entry.hash for entry in ledger.entries()]
        assert hashes[: len(acknowledged)] == acknowledged
        assert len(hashes) - len(acknowledged) in (0, 1)
        ledger.append(decided())
        assert verify(ledger.stored()).bad is None


COPY_OF_LAST = (
    "SELECT {seq}, schema, at_us, actor, role, kind, subject, reason, evidence_digest, {previous}, hash"
)
EDITS = {
    "an entry is edited": "UPDATE ledger_entries SET actor = 'other' WHERE seq = 1",
    "nothing is edited": "UPDATE ledger_entries SET actor = actor",
    "an entry is deleted": "DELETE FROM ledger_entries WHERE seq = 2",
    "evidence is edited": "UPDATE ledger_evidence SET content = content",
    "evidence is deleted": "DELETE FROM ledger_evidence",
    "a number is left out": f"INSERT INTO ledger_entries {COPY_OF_LAST} FROM ledger_entries WHERE seq = 2",
    "the chain forks": f"INSERT INTO ledger_entries {COPY_OF_LAST} FROM ledger_entries WHERE seq = 1",
}


@pytest.mark.parametrize("edit", EDITS)
def test_the_database_refuses_whatever_is_no_new_entry(url, edit):
    left_out = {"seq": "4", "previous": "hash"}
    fork = {"seq": "3", "previous": "hash"}
    statement = EDITS[edit].format(**(left_out if edit == "a number is left out" else fork))
    with opened(url) as ledger:
        ledger.append_all([decided(evidence={"a": 1}), decided()])
        before = list(ledger.stored())
        with by_hand(url) as connection, pytest.raises(sqlalchemy.exc.DBAPIError, match="append-only"):
            connection.exec_driver_sql(statement)
        assert list(ledger.stored()) == before


@pytest.mark.postgres
@pytest.mark.parametrize("table", ["ledger_entries", "ledger_evidence", "ledger_entries, ledger_evidence"])
@pytest.mark.parametrize("role", ["origin", "replica"])
def test_postgresql_refuses_to_truncate_also_in_a_session_that_plays_a_replica(postgres_url, table, role):
    with opened(postgres_url) as ledger:
        ledger.append(decided(evidence={"a": 1}))
        with by_hand(postgres_url) as connection:
            connection.exec_driver_sql(f"SET session_replication_role = {role}")
            with pytest.raises(sqlalchemy.exc.DBAPIError, match=r"append-only|foreign key"):
                connection.exec_driver_sql(f"TRUNCATE {table}")
        assert ledger.last().seq == 1


@pytest.mark.parametrize("table", ["ledger_entries", "ledger_evidence"])
def test_sqlite_refuses_to_replace_a_row(tmp_path, table):
    with opened(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        ledger.append(decided(evidence={"a": 1}))
    with (
        closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")


def test_the_newest_migration_is_the_one_that_is_looked_for(url):
    script = ScriptDirectory(str(MIGRATIONS))
    assert script.get_heads() == [NEWEST]
    with opened(url), by_hand(url) as connection:
        found = connection.exec_driver_sql("SELECT version_num FROM ledger_schema_version").scalar()
    assert found == NEWEST


def test_a_ledger_of_a_newer_release_is_refused_and_stays(url):
    with opened(url) as ledger:
        ledger.append(decided())
    with by_hand(url) as connection:
        connection.exec_driver_sql("UPDATE ledger_schema_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(NotReadyError, match="a newer one"):
        SqlLedger(url)
    with by_hand(url) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM ledger_entries").scalar() == 1


@pytest.mark.parametrize(
    "wrong", ["", "ledger.sqlite", "sqlite://", "sqlite:///:memory:", "mysql://u:secret@h/d"]
)
def test_what_names_no_such_database_is_refused_without_its_password(wrong):
    with pytest.raises(InvalidInputError, match="postgresql://USER") as refused:
        SqlLedger(wrong)
    assert "secret" not in str(refused.value)


def test_without_the_driver_of_postgresql_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(NotReadyError, match=r"psycopg.*pip install 'streamrec\[postgres\]'"):
        SqlLedger("postgresql://me@127.0.0.1:1/ledger")


def test_a_password_is_in_no_message():
    with pytest.raises(TemporaryError) as refused:
        SqlLedger("postgresql://me:secret@127.0.0.1:1/ledger")
    assert "secret" not in str(refused.value)


@contextmanager
def files_at_most(size_bytes):
    """What a full disk does to whoever makes a file longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_where_files_cannot_grow_nothing_is_decided_and_nothing_half_written(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with opened(f"sqlite:///{path}") as ledger:
        ledger.append(decided("before"))
        with files_at_most(path.with_name("ledger.sqlite-wal").stat().st_size), pytest.raises(TemporaryError):
            ledger.append_all([decided("lost"), decided("lost", evidence={"text": "x" * 300_000})])
        assert [entry.subject for entry in ledger.entries()] == ["before"]
        ledger.append(decided("after", evidence={"text": "x" * 300_000}))
        assert verify(ledger.stored()).entries == 2


ON_A_SMALL_DISK = """
import subprocess, sys
from pathlib import Path
from streamrec.contracts.errors import TemporaryError
from streamrec.contracts.ledger_entry import ActorRole, EntryKind
from streamrec.ledger.ledger import Decision, UnlessNewer
from streamrec.ledger.sql_ledger import SqlLedger
from streamrec.ledger.verification import verify

disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(disk)], check=True)
(disk / "other").write_bytes(bytes(1_500_000))
ledger = SqlLedger.in_file(disk / "ledger.sqlite")
appended = 0
try:
    while appended < 100:
        evidence = {"text": "x" * 100_000, "number": appended}
        ledger.append(Decision("mira", ActorRole.SPOKE, EntryKind.GATES_JUDGED, "a@1", evidence=evidence))
        appended += 1
except TemporaryError as error:
    print(error)
assert 0 < appended < 100 and verify(ledger.stored()).entries == appended, appended
(disk / "other").unlink()
ledger.append(Decision("mira", ActorRole.SPOKE, EntryKind.GATES_JUDGED, "a@1", evidence=evidence))
found = verify(ledger.stored())
assert found.bad is None and found.entries == appended + 1, found
"""


def test_a_disk_that_is_full_refuses_and_takes_entries_again_once_there_is_room(tmp_path):
    apart = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("needs a mount namespace of its own (unshare), which is not allowed here")
    done = subprocess.run(
        [*apart, sys.executable, "-c", textwrap.dedent(ON_A_SMALL_DISK), str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be written: database or disk is full" in done.stdout


@contextmanager
def as_nobody():
    """Root may write everywhere; so as somebody else, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_cannot_be_written_is_a_temporary_error_and_stays_as_it_is():
    folder = Path(tempfile.mkdtemp(prefix="streamrec-ledger-"))
    try:
        with opened(f"sqlite:///{folder / 'ledger.sqlite'}") as ledger:
            ledger.append(decided())
        (folder / "ledger.sqlite").chmod(0o444)
        folder.chmod(0o555)
        with as_nobody():
            with pytest.raises(TemporaryError), opened(f"sqlite:///{folder / 'ledger.sqlite'}") as ledger:
                ledger.append(decided())
            with pytest.raises(TemporaryError, match="cannot be written"):
                SqlLedger(f"sqlite:///{folder / 'other' / 'ledger.sqlite'}")
        folder.chmod(0o755)
        (folder / "ledger.sqlite").chmod(0o644)
        with opened(f"sqlite:///{folder / 'ledger.sqlite'}") as ledger:
            assert verify(ledger.stored()).entries == 1
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_table_that_is_gone_is_damage(url):
    with opened(url) as ledger:
        ledger.append(decided())
        with by_hand(url) as connection:
            connection.exec_driver_sql("DROP TABLE ledger_entries")
            connection.commit()
        with pytest.raises(ArtifactError, match="is damaged"):
            ledger.append(decided())


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("edit", "found"),
    [
        ("UPDATE ledger_entries SET reason = 'other' WHERE seq = 2", "entry 2 was changed"),
        ("DELETE FROM ledger_entries WHERE seq = 3", "entry 3 is missing, and all after it"),
        ("DELETE FROM ledger_entries WHERE seq = 1", "entry 1 is missing: number 2"),
    ],
)
def test_the_command_verifies_the_ledger_that_the_variable_names(
    postgres_url, tmp_path, monkeypatch, edit, found
):
    monkeypatch.setenv("STREAMREC_LEDGER", postgres_url)
    ledger = open_ledger(Workspace(tmp_path))
    for _ in range(3):
        ledger.append(decided())
    verify_it = ["ledger", "verify", "--workspace", str(tmp_path)]
    assert CliRunner().invoke(app, verify_it).stdout == "passed\n"
    with by_hand(postgres_url) as connection:
        connection.exec_driver_sql("ALTER TABLE ledger_entries DISABLE TRIGGER ledger_entries_append_only")
        connection.exec_driver_sql(edit)
        connection.commit()
    verified = CliRunner().invoke(app, verify_it)
    assert (verified.exit_code, found in verified.stdout) == (3, True), verified.output
    assert not Workspace(tmp_path).ledger.exists()


@pytest.mark.postgres
def test_a_server_that_dies_loses_nothing_that_was_acknowledged(postgres, postgres_url):
    with opened(postgres_url) as ledger:
        ledger.append(decided("before"))
        postgres.kill()
        with pytest.raises(TemporaryError):
            ledger.append(decided("lost"))
        with pytest.raises(TemporaryError):
            ledger.last()
        postgres.start()
        ledger.append(decided("after"))
        assert [entry.subject for entry in ledger.entries()] == ["before", "after"]
        assert verify(ledger.stored()).bad is None


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("told", "used"), [("off", "on"), ("local", "on"), ("on", "on"), ("remote_apply", "remote_apply")]
)
def test_postgresql_acknowledges_what_is_on_the_disk_whatever_it_was_told(postgres_url, told, used):
    with opened(f"{postgres_url}%20-csynchronous_commit%3D{told}") as ledger:
        with ledger._database.reading() as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == told
        with ledger._database.writing() as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == used


@pytest.mark.postgres
def test_a_user_who_may_read_and_insert_and_nothing_else_can_append(postgres_url):
    schema = postgres_url.rpartition("%3D")[2]
    with opened(postgres_url) as ledger, by_hand(postgres_url) as connection:
        ledger.append(decided())
        for statement in (
            f"CREATE ROLE appender_{schema}",
            f"GRANT USAGE ON SCHEMA {schema} TO appender_{schema}",
            f"GRANT SELECT, INSERT ON ledger_entries, ledger_evidence TO appender_{schema}",
            f"GRANT SELECT ON ledger_schema_version TO appender_{schema}",
        ):
            connection.exec_driver_sql(statement)
        connection.commit()
    as_appender = f"{postgres_url}%20-crole%3Dappender_{schema}"
    with opened(as_appender) as ledger:
        assert ledger.append(decided(evidence={"a": 1})).seq == 2
        assert verify(ledger.stored()).entries == 2
    with by_hand(as_appender) as connection, pytest.raises(sqlalchemy.exc.DBAPIError, match="must be owner"):
        connection.exec_driver_sql("DROP TRIGGER ledger_entries_append_only ON ledger_entries")


@pytest.mark.postgres
@pytest.mark.parametrize("is_committed", [True, False])
def test_a_connection_that_is_lost_at_the_commit_is_looked_into(postgres_url, is_committed):
    with opened(postgres_url) as ledger:
        ledger.append(decided("before"))
        losses = iter([True])

        def lose(connection):
            if next(losses, False):
                driver = connection.connection.driver_connection
                if is_committed:
                    driver.commit()
                    driver.execute("SELECT 1")  # another transaction, so that there is something to commit
                with by_hand(postgres_url) as other:
                    other.exec_driver_sql(f"SELECT pg_terminate_backend({driver.info.backend_pid})")

        sqlalchemy.event.listen(ledger._database._engine, "commit", lose)
        if is_committed:
            assert ledger.append(decided("kept")) == ledger.last()
        else:
            with pytest.raises(TemporaryError):
                ledger.append(decided("lost"))
        assert ledger.last().subject == ("kept" if is_committed else "before")
        assert next(losses, None) is None


@pytest.mark.postgres
def test_a_writer_that_holds_the_lock_for_too_long_makes_others_give_up(postgres_url, monkeypatch):
    monkeypatch.setattr("streamrec.ledger.sql_connections.WAIT_S", 0.2)
    with (
        opened(postgres_url) as one,
        opened(postgres_url) as other,
        one._database.writing(),
        pytest.raises(TemporaryError, match="try again"),
    ):
        other.append(decided())
