"""Anybody's tables: columns are mapped to the neutral format's, then every row is checked as `neutral` does.

One pass over each file, in batches of bounded size; memory grows by the catalogue, by 8 bytes a row (what
tells a duplicate) and by 8 bytes a user. The number of a quarantined row counts the rows of its file, a
header included and blank lines not; of JSON lines it is the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from streamrec.contracts.conventions import UNKNOWN
from streamrec.contracts.errors import DataFolderError
from streamrec.contracts.events import InteractionKind
from streamrec.contracts.progress import Progress
from streamrec.datasets.dataset import SEGMENT_COLUMNS
from streamrec.datasets.importers import checks, table_values
from streamrec.datasets.importers.columns import BATCH_ROWS, Batch, Block, Rows
from streamrec.datasets.importers.neutral import import_interactions, import_items, import_users
from streamrec.datasets.importers.report import ImportReport
from streamrec.datasets.importers.session import ImportSession, import_session
from streamrec.datasets.importers.table_files import TableForm, open_table
from streamrec.datasets.writer import ITEMS_SCHEMA

TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "interactions": ("user_id", "item_id", "timestamp", "rating", "event"),
    "items": ("item_id", "title", "creator_id", "creator_language", "topics", "published_at"),
    "users": ("user_id", *SEGMENT_COLUMNS, "signed_up_at"),
}
"""The fields of each table."""

FIELDS: Final = frozenset(
    (*(name for names in TABLES.values() for name in names), "items.item_id", "users.user_id")
)
"""What a column can be mapped to; with a table's name where the id is called otherwise there."""

_REQUIRED: Final = frozenset({"user_id", "item_id", "timestamp"})


@dataclass(frozen=True)
class TableSource:
    """The tables of one import.

    Attributes:
        interactions: The file of interactions.
        items: The file of items; None: the catalogue is every item of the interactions.
        users: The file of users, if any.
        columns: Of `FIELDS` to the names in the files; any other field goes by its own name.
        kinds: Words for events beside our own, in lower case.
        topic_separator: Between topics in text.
        form: How text files are written; ``columns`` of it are those of the interactions.
        likely: Of fields to names that are tried where ``columns`` says nothing; see `PRESETS`.
        everything_at: The time of every interaction, for a table that has none.
        user_columns: Names of the columns of a users file without a header.
    """

    interactions: Path
    items: Path | None = None
    users: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, InteractionKind] = field(default_factory=dict)
    topic_separator: str = "|"
    form: TableForm = field(default_factory=TableForm)
    likely: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    everything_at: datetime | None = None
    user_columns: tuple[str, ...] = ()

    def form_of(self, name: str) -> TableForm:
        """The form of the table called ``name``."""
        names = {"interactions": self.form.columns, "users": self.user_columns}
        return replace(self.form, columns=names.get(name, ()))

    @property
    def files(self) -> dict[str, Path]:
        """The files that there are, by the name of their table."""
        files = {"interactions": self.interactions, "items": self.items, "users": self.users}
        return {name: path for name, path in files.items() if path is not None}


@dataclass(frozen=True)
class TablePreview:
    """What is understood of the first rows of one file.

    Attributes:
        path: The file.
        chosen: Of each field to the column that it is read from; None where the file has none for it.
        ignored: The columns that are not read.
        rows: The first rows, as fields of the neutral format.
    """

    path: Path
    chosen: Mapping[str, str | None]
    ignored: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]


def import_table(
    source: TableSource,
    output: Path,
    progress: Progress,
    now: datetime | None = None,
    *,
    most_rows: int | None = None,
) -> ImportReport:
    """Check the tables of ``source`` and write them as a data folder at ``output``.

    ``most_rows`` are the interactions after which to stop, at most a batch of them; None: all.

    Raises:
        DataFolderError: A file cannot be read or lacks a mapped column, or ``output`` cannot be written.
    """
    latest = checks.latest_timestamp(now)
    with import_session(source.interactions, output) as session:
        for path in source.files.values():
            session.quarantine(path, (), 0)  # the report lists the files in this order
        item_ids = None
        if source.items:
            with _opened(source, "items", session) as rows:
                item_ids = import_items(session, rows)
        if source.users:
            with _opened(source, "users", session) as rows:
                import_users(session, rows, latest)
        with _opened(source, "interactions", session, most_rows) as rows:
            found = import_interactions(session, rows, item_ids, latest, progress, source.kinds)
        if item_ids is None:
            _write_found_items(session, source.interactions, sorted(found))
    return session.report()


def preview(source: TableSource, rows: int) -> dict[str, TablePreview]:
    """What is understood of the first ``rows`` rows of each file.

    Raises:
        DataFolderError: A file cannot be read or lacks a mapped column.
    """
    previews: dict[str, TablePreview] = {}
    for name, path in source.files.items():
        with open_table(path, source.form_of(name)) as table:
            chosen = _chosen(source, path, name, table.names)
            first = next((block for block in table.blocks(_columns(chosen)) if block.columns.num_rows), None)
            shown = [] if first is None else _shown(first, rows, chosen, source, path)
            ignored = tuple(column for column in table.names if column not in chosen.values())
            previews[name] = TablePreview(path, chosen, ignored, tuple(shown))
    return previews


@contextmanager
def _opened(
    source: TableSource, name: str, session: ImportSession, most_rows: int | None = None
) -> Iterator[Rows]:
    """Yield the rows of the table called ``name``, mapped; those that could not be cut go to quarantine."""
    path = source.files[name]
    with open_table(path, source.form_of(name)) as table:
        chosen = _chosen(source, path, name, table.names)
        blocks = table.blocks(_columns(chosen))
        if most_rows is not None:
            blocks = (_first_rows(block, most_rows) for block in islice(_regrouped(blocks), 1))

        def batches() -> Iterator[Batch]:
            for block in _regrouped(blocks):
                session.quarantine(path, block.malformed, len(block.malformed))
                if block.columns.num_rows:
                    mapped = _mapped(block.columns, chosen, source, path)
                    yield Batch(mapped, block.numbers, block.columns, block.size)

        yield Rows(path, tuple(chosen), batches(), table.size)


def _shown(
    block: Block, rows: int, chosen: Mapping[str, str | None], source: TableSource, path: Path
) -> list[dict[str, Any]]:
    mapped = _mapped(block.columns.slice(0, rows), chosen, source, path)
    return Batch(mapped, block.numbers[:rows]).shown(np.arange(mapped.num_rows))


def _regrouped(blocks: Iterator[Block]) -> Iterator[Block]:
    """The same rows in blocks of `BATCH_ROWS`, whatever their length in bytes; types may change between."""
    waiting: list[Block] = []
    rows = 0
    for block in blocks:
        if waiting and not waiting[0].columns.schema.equals(block.columns.schema):
            yield _joined(waiting)
            waiting, rows = [], 0
        waiting.append(block)
        rows += block.columns.num_rows
        if rows < BATCH_ROWS:
            continue
        joined = _joined(waiting)
        whole = rows - rows % BATCH_ROWS
        for start in range(0, whole, BATCH_ROWS):
            first = start == 0
            yield Block(
                joined.columns.slice(start, BATCH_ROWS),
                joined.numbers[start : start + BATCH_ROWS],
                joined.malformed if first else [],
                joined.size if first else 0,
            )
        waiting, rows = [Block(joined.columns.slice(whole), joined.numbers[whole:], [], 0)], rows - whole
    if waiting:
        yield _joined(waiting)


def _first_rows(block: Block, rows: int) -> Block:
    if block.columns.num_rows <= rows:
        return block
    numbers = block.numbers[:rows]
    malformed = [row for row in block.malformed if row.line < numbers[-1]]
    return Block(block.columns.slice(0, rows), numbers, malformed, block.size)


def _joined(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    return Block(
        pa.concat_batches([block.columns for block in blocks]),
        np.concatenate([block.numbers for block in blocks]),
        [row for block in blocks for row in block.malformed],
        sum(block.size for block in blocks),
    )


def _write_found_items(session: ImportSession, path: Path, item_ids: list[str]) -> None:
    """Write a catalogue that knows the ids alone."""
    count = len(item_ids)
    columns = {
        "item_id": pa.array(item_ids, pa.string()),
        "title": pa.repeat("", count),
        "creator_id": pa.repeat(UNKNOWN, count),
        "creator_language": pa.repeat(UNKNOWN, count),
        "topics": pa.array([[]] * count, ITEMS_SCHEMA.field("topics").type),
        "published_at": pa.nulls(count, ITEMS_SCHEMA.field("published_at").type),
    }
    session.quarantine(path.with_name(f"items of {path.name}"), (), count)
    session.write_items(path, pa.table(columns, schema=ITEMS_SCHEMA))


def _columns(chosen: Mapping[str, str | None]) -> list[str]:
    return list(dict.fromkeys(column for column in chosen.values() if column is not None))


def _chosen(source: TableSource, path: Path, name: str, names: tuple[str, ...]) -> dict[str, str | None]:
    """The file's column of each field of the table called ``name``; None for a field that it lacks."""
    chosen: dict[str, str | None] = {}
    for known in TABLES[name]:
        if known == "timestamp" and source.everything_at is not None:
            chosen[known] = None
            continue
        wanted = _column(source, name, known, names)
        if wanted in names:
            chosen[known] = wanted
        elif known in _REQUIRED or known in source.columns or f"{name}.{known}" in source.columns:
            raise DataFolderError(path, wanted, _missing(known, names))
        elif name == "items":
            chosen[known] = None
    for known, column in chosen.items():
        if column is not None and names.count(column) > 1:
            raise DataFolderError(path, column, "the file has the column twice; rename one of them")
        other = next((one for one in chosen if one != known and chosen[one] == column), None)
        if column is not None and other is not None:
            raise DataFolderError(path, column, f"is mapped to {known} and to {other}; see --map")
    return chosen


def _column(source: TableSource, name: str, known: str, names: tuple[str, ...]) -> str:
    """What the field ``known`` is called in a file: as was said, as is likely, or by its own name."""
    likely = (*source.likely.get(f"{name}.{known}", ()), *source.likely.get(known, ()))
    own = next((guess for guess in likely if guess in names), known)
    said = source.columns.get(f"{name}.{known}")
    if said is None:
        said = source.columns.get(known, own)
        # An id is mapped for the interactions first; the other tables may call it by its own name.
        if name != "interactions" and said not in names and own in names:
            return own
    return said


def _missing(known: str, names: tuple[str, ...]) -> str:
    have = ", ".join(names)[:200]
    also = "; for a table without times pass --time" if known == "timestamp" else ""
    return (
        f"the column is missing; the file has {have}; say which is the {known} by --map {known}=COLUMN{also}"
    )


def _mapped(
    batch: pa.RecordBatch, chosen: Mapping[str, str | None], source: TableSource, path: Path
) -> pa.RecordBatch:
    convert: dict[str, Callable[[pa.Array], pa.Array]] = {
        "user_id": table_values.identifiers,
        "item_id": table_values.identifiers,
        "timestamp": table_values.times,
        "signed_up_at": table_values.times,
        "published_at": table_values.publications,
        "rating": table_values.ratings,
        "topics": partial(table_values.topics, separator=source.topic_separator),
    }
    arrays: dict[str, pa.Array] = {}
    for known, name in chosen.items():
        if name is None:
            everything_at = source.everything_at if known == "timestamp" else None
            arrays[known] = pa.array([everything_at] * batch.num_rows, None if everything_at else pa.null())
            continue
        try:
            arrays[known] = convert.get(known, table_values.texts)(batch.column(name))
        except table_values.UnfitColumnError as error:
            raise DataFolderError(path, name, f"{error}; see --map") from error
    return pa.RecordBatch.from_pydict(arrays)
