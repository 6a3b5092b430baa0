"""Anybody's tables: columns are mapped to the neutral format's, then every row is checked as `neutral` does.

The mapped columns lie in Parquet files in a temporary folder meanwhile, so memory is bounded by a block of
rows and the catalogue. The ``line`` of a quarantined row counts the rows that could be cut into columns.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from streamrec.contracts.conventions import MAXIMUM_ID_CHARACTERS
from streamrec.contracts.errors import DataFolderError
from streamrec.contracts.events import InteractionKind
from streamrec.contracts.progress import Progress
from streamrec.datasets.dataset import SEGMENT_COLUMNS
from streamrec.datasets.importers import checks
from streamrec.datasets.importers.neutral import import_files
from streamrec.datasets.importers.report import ImportReport
from streamrec.datasets.importers.session import ImportSession, import_session
from streamrec.datasets.importers.table_files import TableForm, open_table

_INTERACTIONS: Final = ("user_id", "item_id", "timestamp", "rating", "event")
_ITEMS: Final = ("item_id", "title", "creator_id", "creator_language", "topics", "published_at")
_USERS: Final = ("user_id", *SEGMENT_COLUMNS, "signed_up_at")
_YEAR: Final = re.compile(r"[0-9]{1,4}(\.0+)?")
_TIMES: Final = frozenset({"timestamp", "published_at", "signed_up_at"})
_REQUIRED: Final = frozenset({"user_id", "item_id", "timestamp"})

FIELDS: Final = frozenset((*_INTERACTIONS, *_ITEMS, *_USERS, "items.item_id", "users.user_id"))
"""What a column can be mapped to; with a table's name where the id is called otherwise there."""

_NUMBER: Final = r"^\s*[0-9]+(\.[0-9]*)?([eE]\+?[0-9]+)?\s*$"
_LATEST_SECONDS: Final = 253_402_300_799.0  # 9999-12-31


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
        form: How text files are written.
        likely: Of fields to names that are tried where ``columns`` says nothing; see `PRESETS`.
    """

    interactions: Path
    items: Path | None = None
    users: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, InteractionKind] = field(default_factory=dict)
    topic_separator: str = "|"
    form: TableForm = field(default_factory=TableForm)
    likely: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def form_of(self, name: str) -> TableForm:
        """The form of the table called ``name``; only interactions can come without a header."""
        return self.form if name == "interactions" else replace(self.form, columns=())


def import_table(
    source: TableSource, output: Path, progress: Progress, now: datetime | None = None
) -> ImportReport:
    """Check the tables of ``source`` and write them as a data folder at ``output``.

    Raises:
        DataFolderError: A file cannot be read or lacks a mapped column, or ``output`` cannot be written.
    """
    with (
        import_session(source.interactions, output) as session,
        tempfile.TemporaryDirectory(dir=output.resolve().parent, prefix=".import-") as scratch,
    ):
        staged = [Path(scratch) / str(place) for place in range(3)]
        for folder in staged:
            folder.mkdir()
        interactions = staged[0] / source.interactions.name
        progress.start("read the table", 0)
        found = _stage(source, source.interactions, "interactions", interactions, session, progress)
        items = staged[1] / (source.items.name if source.items else f"items of {source.interactions.name}")
        if source.items:
            _stage(source, source.items, "items", items, session, progress)
        else:
            nothing = {name: pa.nulls(len(found)) for name in _ITEMS[1:]}
            pq.write_table(pa.table({"item_id": pa.array(sorted(found), pa.string()), **nothing}), items)
        users = staged[2] / source.users.name if source.users else None
        if source.users and users:
            _stage(source, source.users, "users", users, session, progress)
        progress.finish("read")
        import_files(
            session, (interactions, items, users), progress, checks.latest_timestamp(now), source.kinds
        )
    return session.report()


def first_rows(source: TableSource, rows: int) -> dict[str, list[dict[str, Any]]]:
    """What is understood of the first ``rows`` rows of each file, as fields of the neutral format."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for name in ("interactions", "items", "users"):
        path: Path | None = getattr(source, name)
        if path is None:
            continue
        with open_table(path, source.form_of(name)) as table:
            chosen = _chosen(source, path, name, table.schema)
            batches = (_mapped(batch.slice(0, rows), chosen, source) for batch in table.batches)
            shown[name] = [row for batch in islice(batches, 1) for row in batch.to_pylist()]
    return shown


def _stage(
    source: TableSource, path: Path, name: str, target: Path, session: ImportSession, progress: Progress
) -> set[str]:
    """Write the mapped columns to ``target``; return the usable item ids of the rows."""
    found: set[str] = set()
    rows = 0
    writer: pq.ParquetWriter | None = None
    with open_table(path, source.form_of(name)) as table:
        chosen = _chosen(source, path, name, table.schema)
        try:
            for batch in table.batches:
                mapped = _mapped(batch, chosen, source)
                rows += batch.num_rows
                if name == "interactions" and source.items is None:
                    ids = mapped.column("item_id").unique().cast(pa.string()).to_pylist()
                    found.update(item_id for item_id in ids if _usable(item_id))
                writer = writer or pq.ParquetWriter(target, mapped.schema, compression="lz4")
                writer.write_batch(mapped)
                session.quarantine(path, table.malformed, len(table.malformed))
                table.malformed.clear()
                progress.advance(0, f"{rows:,} rows")
        finally:
            if writer is not None:
                writer.close()
    if writer is None:
        raise DataFolderError(path, None, "the file has no rows")
    return found


def _usable(item_id: str | None) -> bool:
    return (
        item_id is not None
        and not checks.is_blank(item_id)
        and len(item_id) <= MAXIMUM_ID_CHARACTERS
        and not checks.has_control_character(item_id)
    )


def _chosen(source: TableSource, path: Path, name: str, schema: pa.Schema) -> dict[str, str | None]:
    """The file's column of each field of the table called ``name``."""
    fields = {"interactions": _INTERACTIONS, "items": _ITEMS, "users": _USERS}[name]
    chosen: dict[str, str | None] = {}
    for known in fields:
        likely = (*source.likely.get(f"{name}.{known}", ()), *source.likely.get(known, ()))
        guess = next((guess for guess in likely if guess in schema.names), known)
        column = source.columns.get(f"{name}.{known}") or source.columns.get(known, guess)
        if column in schema.names:
            chosen[known] = column
        elif name != "interactions" and known in schema.names:
            chosen[known] = known
        elif known in _REQUIRED or known in source.columns:
            have = ", ".join(schema.names)[:200]
            raise DataFolderError(path, column, f"the column is missing; the file has {have}; see --map")
        elif name == "items":
            chosen[known] = None
    return chosen


def _mapped(batch: pa.RecordBatch, chosen: Mapping[str, str | None], source: TableSource) -> pa.RecordBatch:
    arrays: dict[str, pa.Array] = {}
    for known, column in chosen.items():
        values = pa.nulls(batch.num_rows) if column is None else batch.column(column)
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        if known == "published_at":
            values = _publications(values)
        elif known in _TIMES:
            values = _times(values)
        elif known == "topics":
            values = _topics(values, source.topic_separator)
        elif known == "rating":
            values = values if _is_number(values.type) else values.cast(pa.string())
        elif not pa.types.is_binary(values.type):
            whole = pa.types.is_floating(values.type)
            values = values.cast(pa.string()) if not whole else _whole(values)
        arrays[known] = values
    return pa.RecordBatch.from_pydict(arrays)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _whole(values: pa.Array) -> pa.Array:
    text: pa.Array = pa.compute.replace_substring_regex(values.cast(pa.string()), r"\.0$", "")
    return text


def _publications(values: pa.Array) -> pa.Array:
    """As `_times`, but a number of one to four digits is a year, and not an hour of 1970."""
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        return values
    texts = [None if text is None else text.strip() for text in values.cast(pa.string()).to_pylist()]
    dates = [
        text if text is None or not _YEAR.fullmatch(text) else f"{int(float(text)):04d}-01-01"
        for text in texts
    ]
    return _times(pa.array(dates, pa.string()))


def _times(values: pa.Array) -> pa.Array:
    """ISO 8601 text; a number is s, ms, us or ns since 1970 by its size."""
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        return values
    text = values.cast(pa.string())
    compute: Callable[..., Any] = pa.compute.if_else
    numeric = pa.compute.match_substring_regex(text, _NUMBER).fill_null(False)
    numbers = compute(numeric, text, None)
    seconds = pa.compute.utf8_trim_whitespace(numbers).cast(pa.float64())
    for _ in range(3):
        seconds = compute(pa.compute.greater(seconds, 1e11), pa.compute.divide(seconds, 1_000.0), seconds)
    fits = pa.compute.and_(numeric, pa.compute.less(seconds, _LATEST_SECONDS)).fill_null(False)
    micros = pa.compute.round(pa.compute.multiply(compute(fits, seconds, 0.0), 1e6)).cast(pa.int64())
    iso = micros.cast(pa.timestamp("us")).cast(pa.string())
    return compute(fits, iso, text)


def _topics(values: pa.Array, separator: str) -> pa.Array:
    if pa.types.is_list(values.type) or pa.types.is_null(values.type):
        return values
    split: pa.Array = pa.compute.split_pattern(values.cast(pa.string()), separator)
    return split
