"""The statistics of days, kept in files: a day is computed once for a metric and what it is split by.

One Parquet file, below a folder for each UTC day, whose name says all that must be true of it: the metric, a
digest of its definition and split, a digest of what the log held (`log_fingerprint`) and the SHA-256 of its
own bytes. A file that says something else is not used, and goes when the day is computed anew. The files hold
units by their ids in the column ``unit``, where the erasure of a person finds and removes them; a file that
was changed so is computed anew from the log.
"""

from __future__ import annotations

import hashlib
import io
import logging
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streamrec.contracts.canonical_json import canonical_json
from streamrec.contracts.errors import DependencyError, OverloadedError
from streamrec.events.event_log import LogExtent
from streamrec.events.records import RecordKind
from streamrec.events.time_range import TimeRange
from streamrec.files import durable_files
from streamrec.files.locks import only_writer_of
from streamrec.metrics.unit_rows import UNIT

BLOCK_ROWS: Final = 65_536
"""Rows that are read at once: a row group."""

_DIGEST_CHARACTERS: Final = 16
_LOG = logging.getLogger(__name__)


class UnitRows(Protocol):
    """Statistics by unit, sorted by it, read in ranges of units."""

    def starts(self) -> list[str]:
        """A unit of every block: where a range of units may begin so that blocks are read about once."""
        ...

    def between(self, first: str | None, end: str | None) -> pa.Table:
        """The rows of the units from ``first`` on and before ``end``; None: no bound."""
        ...


class MemoryRows:
    """Implements `UnitRows` on a table."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def starts(self) -> list[str]:
        """See `UnitRows.starts`."""
        units = self._table[UNIT]
        return [units[row].as_py() for row in range(0, self._table.num_rows, BLOCK_ROWS)]

    def between(self, first: str | None, end: str | None) -> pa.Table:
        """See `UnitRows.between`."""
        return _between(self._table, first, end)


class FileRows:
    """Implements `UnitRows` on a file that stays open: it can be read after another replaced it."""

    def __init__(self, content: pq.ParquetFile) -> None:
        self._content = content

    def starts(self) -> list[str]:
        """See `UnitRows.starts`."""
        return [low for low, _ in self._bounds()]

    def between(self, first: str | None, end: str | None) -> pa.Table:
        """See `UnitRows.between`."""
        wanted = [
            group
            for group, (low, high) in enumerate(self._bounds())
            if (end is None or low < end) and (first is None or high >= first)
        ]
        return _between(self._content.read_row_groups(wanted), first, end)

    def _bounds(self) -> Iterator[tuple[str, str]]:
        column = self._content.schema_arrow.names.index(UNIT)
        groups = (self._content.metadata.row_group(group) for group in range(self._content.num_row_groups))
        for group in groups:
            if group.num_rows:
                statistics = group.column(column).statistics
                yield statistics.min, statistics.max


@dataclass(frozen=True, slots=True)
class StatisticsKey:
    """What a file must be of.

    Attributes:
        metric: Its name.
        digest: SHA-256 of the definition and of what it is split by, hexadecimal.
        day: The UTC day.
        fingerprint: Of what the log held: see `log_fingerprint`.
    """

    metric: str
    digest: str
    day: date
    fingerprint: str

    @property
    def stem(self) -> str:
        """How the names of all files of this metric, definition, split and day begin."""
        return f"{self.metric}.{self.digest[:_DIGEST_CHARACTERS]}."

    @property
    def prefix(self) -> str:
        """How the name of the file begins."""
        return f"{self.stem}{self.fingerprint[:_DIGEST_CHARACTERS]}."


class StatisticsFolder:
    """The files. Many processes may use them at once."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def find(self, key: StatisticsKey) -> FileRows | None:
        """The statistics that are kept, or None: there are none that are true, or they are damaged.

        Raises:
            DependencyError: The folder cannot be read.
        """
        try:
            for path in sorted((self._root / key.day.isoformat()).glob(f"{key.prefix}*.parquet")):
                try:
                    found = _opened(path)
                except FileNotFoundError:
                    continue  # another process has put a newer one in its place
                if found is not None:
                    return found
                _LOG.warning("%s is damaged; the day is computed anew", path)
        except OSError as error:
            raise DependencyError(f"{self._root} cannot be read: {error}") from error
        return None

    def keep(self, key: StatisticsKey, rows: pa.Table) -> None:
        """Keep the statistics of a day in place of older ones. Where the disk fails, they are not kept."""
        buffer = io.BytesIO()
        pq.write_table(rows, buffer, compression="zstd", row_group_size=BLOCK_ROWS)
        content = buffer.getvalue()
        folder = self._root / key.day.isoformat()
        path = folder / f"{key.prefix}{hashlib.sha256(content).hexdigest()}.parquet"
        try:
            durable_files.make_folder(folder)
            with only_writer_of(self._root / "statistics"):
                durable_files.write_atomically(path, content, mode=0o600)
                for other in folder.glob(f"{key.stem}*"):
                    if other != path:
                        durable_files.remove(other)
        except (OSError, OverloadedError) as error:
            _LOG.warning("the statistics of %s for %s are not kept: %s", key.day, key.metric, error)

    def remove_before(self, day: date) -> None:
        """Remove the statistics of days that expired in the log: they must not live on here.

        Raises:
            DependencyError: They cannot be removed.
        """
        try:
            for folder in self._root.glob("????-??-??"):
                if folder.name < day.isoformat():
                    shutil.rmtree(folder)
        except OSError as error:
            raise DependencyError(f"{self._root}: expired statistics cannot be removed: {error}") from error


def log_fingerprint(extent: LogExtent, reads: Iterable[tuple[RecordKind, TimeRange]], *, final: bool) -> str:
    """Digest of what the log holds of some ranges; statistics under another one are not true any more.

    Args:
        extent: Of the log.
        reads: What was read.
        final: Whether all ranges are over. Then records can only have gone, and their number tells. Else
            compactions count as changes too: records may have come and gone since.
    """
    held = {
        (kind.value, day.isoformat(), records)
        for wanted, window in reads
        for (kind, day), records in extent.records.items()
        if kind is wanted and records and window.touches(day)
    }
    document = {
        "held": [list(entry) for entry in sorted(held)],
        "generation": None if final else extent.generation,
    }
    return hashlib.sha256(canonical_json(document)).hexdigest()


def _opened(path: Path) -> FileRows | None:
    source = pa.memory_map(str(path))
    if hashlib.sha256(source.read_buffer()).hexdigest() != path.name.split(".")[-2]:
        return None
    source.seek(0)
    return FileRows(pq.ParquetFile(source))


def _between(table: pa.Table, first: str | None, end: str | None) -> pa.Table:
    if first is not None:
        table = table.filter(pc.greater_equal(table[UNIT], first))
    return table if end is None else table.filter(pc.less(table[UNIT], end))
