"""What both importers do around their own reading: write, quarantine, count, publish."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from streamrec.contracts.errors import DataFolderError
from streamrec.datasets.importers.repeated_rows import SeenHashes, value_hashes
from streamrec.datasets.importers.report import FileReport, ImportReport, write_report
from streamrec.datasets.quarantine import Quarantine, QuarantinedRow, Reason
from streamrec.datasets.writer import DatasetWriter, dataset_writer

_ADVICE: Final = {
    Reason.INVALID_UTF8: "text that is not UTF-8 needs --encoding",
    Reason.NOT_A_TIME: "a time is ISO 8601 or a number of s, ms, us or ns since 1970",
}


class ImportSession:
    """One import under way. Counts what goes through it, so the report cannot disagree with the data."""

    def __init__(self, output: Path, writer: DatasetWriter, quarantine: Quarantine) -> None:
        self.interactions = 0
        self._output = output
        self._writer = writer
        self._quarantine = quarantine
        self._rows_read: dict[str, int] = {}
        self._repaired: dict[str, Counter[tuple[str, str]]] = {}
        self._items = 0
        self._users = SeenHashes()

    def quarantine(self, source_file: Path, rows: Sequence[QuarantinedRow], rows_read: int) -> None:
        """Count a chunk of ``rows_read`` rows of ``source_file`` and keep its bad ``rows``."""
        self._rows_read[source_file.name] = self._rows_read.get(source_file.name, 0) + rows_read
        self._quarantine.add(source_file.name, rows)

    def repaired(self, source_file: Path, counts: Counter[tuple[str, str]]) -> None:
        """Count attributes of ``source_file`` that became unknown or were shortened, by name and reason."""
        self._repaired.setdefault(source_file.name, Counter()).update(counts)

    def write_items(self, source_file: Path, items: pa.Table) -> None:
        """Write the catalogue.

        Raises:
            DataFolderError: There is no item in it.
        """
        if not items.num_rows:
            raise DataFolderError(source_file, None, self._nothing_usable(source_file))
        self._items = items.num_rows
        self._writer.write_items(items)

    def write_users(self, users: pa.Table) -> None:
        """Write the users."""
        self._count_users(users)
        self._writer.write_users(users)

    def append_interactions(self, interactions: pa.Table) -> None:
        """Write a chunk of interactions."""
        self.interactions += interactions.num_rows
        self._count_users(interactions)
        self._writer.append_interactions(interactions)

    def interactions_done(self, source_file: Path) -> None:
        """Say that all interactions are read.

        Raises:
            DataFolderError: There was none.
        """
        if not self.interactions:
            raise DataFolderError(source_file, None, self._nothing_usable(source_file))

    def report(self) -> ImportReport:
        """What has gone through so far."""
        return ImportReport(
            self._output, self._file_reports(), self.interactions, self._items, len(self._users)
        )

    def write_report(self) -> None:
        """Write the report beside the data."""
        write_report(self._writer.folder, self.report())

    def _count_users(self, rows: pa.Table) -> None:
        users = rows["user_id"].unique().to_numpy(zero_copy_only=False).astype(object)
        self._users.add(value_hashes(users, distinct=True))

    def _file_reports(self) -> tuple[FileReport, ...]:
        reports: list[FileReport] = []
        for name, rows_read in self._rows_read.items():
            quarantined = self._quarantine.counts(name)
            kept = rows_read - sum(quarantined.values())
            repaired: dict[str, dict[str, int]] = {}
            for (attribute, reason), rows in sorted(self._repaired.get(name, Counter()).items()):
                repaired.setdefault(attribute, {})[reason] = rows
            reports.append(FileReport(name, rows_read, kept, quarantined, repaired))
        return tuple(reports)

    def _nothing_usable(self, source_file: Path) -> str:
        rows_read = self._rows_read.get(source_file.name, 0)
        if not rows_read:
            return "the file has no rows"
        reasons = ", ".join(
            f"{reason} {n}" for reason, n in self._quarantine.counts(source_file.name).items()
        )
        advice = [
            text for reason, text in _ADVICE.items() if self._quarantine.counts(source_file.name).get(reason)
        ]
        return "; ".join([f"none of its {rows_read} rows is usable ({reasons})", *advice])


@contextmanager
def import_session(source: Path, output: Path) -> Iterator[ImportSession]:
    """Yield a session; what went through it becomes the data folder ``output`` at the end.

    Raises:
        DataFolderError: ``output`` cannot be written, or is or holds ``source``.
    """
    there, here = source.resolve(), output.resolve()
    if there == here or here in there.parents:
        raise DataFolderError(output, None, f"the output would replace the source {source}; choose another")
    with dataset_writer(output) as writer, Quarantine(writer.folder) as quarantine:
        session = ImportSession(output, writer, quarantine)
        yield session
        session.write_report()


def table_of_rows(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    """A table from rows of Python values in the order of the schema's columns."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    arrays = [pa.array(list(column), field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)
