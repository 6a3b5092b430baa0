"""The tables of the ledger's database: made and brought up to date when a ledger is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, inspect

from streamrec.contracts.errors import DependencyError, NotReadyError
from streamrec.files.durable_files import make_folder
from streamrec.ledger.sql_connections import LedgerDatabase

VERSION_TABLE: Final = "ledger_schema_version"
NEWEST: Final = "0001"
"""The revision of the newest migration; a test compares it with the folder."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def bring_up_to_date(database: LedgerDatabase) -> None:
    """Run the migrations that are missing. Any number of processes may do it at once.

    Raises:
        NotReadyError: A newer release has written the database.
        TemporaryError, ArtifactError: See `LedgerDatabase.writing`.
    """
    file = database.sqlite_file
    if file is None or file.exists():
        with database.reading() as connection:
            if _version(connection) == NEWEST:
                return
    if file is not None:
        _prepare_file(database, file)
    with database.writing() as connection:
        _migrate(connection, database.place)  # does nothing where another process was first


def _prepare_file(database: LedgerDatabase, file: Path) -> None:
    """Have SQLite write ahead: readers and the writer do not wait for each other. Stays with the file."""
    try:
        make_folder(file.parent)
    except OSError as error:
        raise DependencyError(f"the ledger {file} cannot be written: {error.strerror}") from error
    with database.reading() as connection:
        driver: Any = connection.connection.driver_connection  # outside of any transaction
        driver.execute("PRAGMA journal_mode = WAL")


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()  # noqa: S608


def _migrate(connection: Connection, place: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise NotReadyError(
            f"the ledger {place} has tables that this release does not know ({error}); "
            "use the release that has written it, or a newer one"
        ) from error
