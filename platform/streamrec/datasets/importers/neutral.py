"""Somebody else's folder in the neutral format, checked row by row.

interactions.parquet   user_id, item_id, timestamp (UTC) [, rating, event]
items.parquet          item_id, title, creator_id, creator_language, topics (list), published_at (nullable)
users.parquet          user_id [, country, language, age_band, signup_channel, signed_up_at]   (optional)

A row that equals an earlier one in every column is a duplicate, and so is a second row of an item or a user;
the first one stays. The same user, item and another time is a repeat, and stays. A column that is not
listed here is not copied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from streamrec.contracts.conventions import UNKNOWN
from streamrec.contracts.errors import DataFolderError
from streamrec.contracts.events import InteractionKind
from streamrec.contracts.progress import Progress
from streamrec.datasets.dataset import INTERACTIONS_FILE, ITEMS_FILE, SEGMENT_COLUMNS, USERS_FILE
from streamrec.datasets.importers import checks
from streamrec.datasets.importers.checks import Objects
from streamrec.datasets.importers.columns import (
    ID,
    NUMBER,
    NUMBER_OR_TEXT,
    TEXT,
    TIME,
    TOPICS,
    Batch,
    ColumnKind,
    ParquetParts,
    open_parquet,
    read_batches,
)
from streamrec.datasets.importers.repeated_rows import DuplicateRows, repeated_ids
from streamrec.datasets.importers.report import ImportReport
from streamrec.datasets.importers.session import ImportSession, import_session
from streamrec.datasets.quarantine import Reason, Triage
from streamrec.datasets.writer import (
    EVENT,
    INTERACTIONS_SCHEMA,
    ITEMS_SCHEMA,
    RATING,
    TIMESTAMP,
    USERS_SCHEMA,
)

_INTERACTIONS: dict[str, ColumnKind] = {"user_id": ID, "item_id": ID, "timestamp": TIME}
_INTERACTIONS_OPTIONAL: dict[str, ColumnKind] = {"rating": NUMBER, "event": TEXT}
_ITEMS: dict[str, ColumnKind] = {
    "item_id": ID,
    "title": TEXT,
    "creator_id": ID,
    "creator_language": TEXT,
    "topics": TOPICS,
    "published_at": TIME,
}
_USERS: dict[str, ColumnKind] = {"user_id": ID}
_USERS_OPTIONAL: dict[str, ColumnKind] = {**dict.fromkeys(SEGMENT_COLUMNS, TEXT), "signed_up_at": TIME}


def import_neutral(
    source: Path, output: Path, progress: Progress, now: datetime | None = None
) -> ImportReport:
    """Check the neutral folder ``source`` and write it as a data folder at ``output``.

    Args:
        source: A folder in the format above. Identifiers may be text or whole numbers; times may be Parquet
            timestamps (without a zone: UTC), ISO 8601 text or whole seconds, ms, us or ns since 1970. Each
            Parquet file may be a folder of part files.
        output: Where the data folder goes; written in one step, untouched on an error.
        progress: Shows the interactions read.
        now: The clock by which an event lies in the future; default: the machine's.

    Raises:
        DataFolderError: ``source`` cannot be used or ``output`` cannot be written; names file and column.
    """
    if not source.is_dir():
        raise DataFolderError(source, None, f"is not a folder; pass a folder with {INTERACTIONS_FILE}")
    with import_session(source, output) as session:
        users = source / USERS_FILE
        import_files(
            session,
            (source / INTERACTIONS_FILE, source / ITEMS_FILE, users if users.exists() else None),
            progress,
            checks.latest_timestamp(now),
        )
    return session.report()


def import_files(
    session: ImportSession,
    files: tuple[Path, Path, Path | None],
    progress: Progress,
    latest: datetime,
    kinds: Mapping[str, InteractionKind] | None = None,
) -> None:
    """Check the Parquet ``files`` (interactions, items, users or None) in the format above and write them.

    ``kinds`` are words for events beside our own, in lower case (see `interaction_kind`). None: the files
    are in the neutral format itself, whose ratings must not be text.

    Raises:
        DataFolderError: A file cannot be used; names file and column.
    """
    interactions, items, users = files
    item_ids = _import_items(session, items)
    if users is not None:
        _import_users(session, users, latest)
    _import_interactions(session, interactions, item_ids, latest, progress, kinds)


def _import_items(session: ImportSession, path: Path) -> frozenset[str]:
    seen: set[str] = set()
    tables: list[pa.Table] = []
    with open_parquet(path, _ITEMS, {}) as file:
        for batch in read_batches(file, path):
            triage = Triage(batch.row_count)
            item_ids = batch.strings("item_id", triage)
            checks.check_ids(triage, item_ids, "item_id")
            titles = checks.repaired_titles(triage, batch.texts("title"), "title")
            creators, languages = (
                checks.repaired_names(triage, batch.texts(name), name)
                for name in ("creator_id", "creator_language")
            )
            topics = batch.topics("topics", triage)
            published_at, published = batch.optional_times("published_at", triage, checks.check_published)
            triage.reject(repeated_ids(item_ids, triage.accepted, seen), Reason.DUPLICATE_ID, "item_id")
            _close_batch(session, path, batch, triage)
            kept = triage.accepted
            tables.append(
                pa.Table.from_arrays(
                    [
                        _text(item_ids[kept]),
                        _text(_filled(titles[kept], "")),
                        _text(_filled(creators[kept], UNKNOWN)),
                        _text(checks.as_objects([checks.language_or_unknown(x) for x in languages[kept]])),
                        pa.array(list(topics[kept]), ITEMS_SCHEMA.field("topics").type),
                        _instants(published_at[kept], published[kept]),
                    ],
                    schema=ITEMS_SCHEMA,
                )
            )
    session.write_items(path, pa.concat_tables(tables) if tables else ITEMS_SCHEMA.empty_table())
    return frozenset(seen)


def _import_users(session: ImportSession, path: Path, latest: datetime) -> None:
    seen: set[str] = set()
    tables: list[pa.Table] = []
    with open_parquet(path, _USERS, _USERS_OPTIONAL) as file:
        for batch in read_batches(file, path):
            triage = Triage(batch.row_count)
            user_ids = batch.strings("user_id", triage)
            checks.check_ids(triage, user_ids, "user_id")
            segments: list[Objects] = []
            for name in SEGMENT_COLUMNS:
                values = checks.repaired_names(triage, batch.texts(name), name)
                segments.append(_filled(values, UNKNOWN))
            signed_up_at, known = batch.optional_times(
                "signed_up_at", triage, partial(checks.check_times, latest=latest)
            )
            triage.reject(repeated_ids(user_ids, triage.accepted, seen), Reason.DUPLICATE_ID, "user_id")
            _close_batch(session, path, batch, triage)
            kept = triage.accepted
            columns = [_text(values[kept]) for values in (user_ids, *segments)]
            tables.append(
                pa.Table.from_arrays(
                    [*columns, _instants(signed_up_at[kept], known[kept])], schema=USERS_SCHEMA
                )
            )
    session.write_users(pa.concat_tables(tables) if tables else USERS_SCHEMA.empty_table())


def _import_interactions(
    session: ImportSession,
    path: Path,
    item_ids: frozenset[str],
    latest: datetime,
    progress: Progress,
    kinds: Mapping[str, InteractionKind] | None,
) -> None:
    duplicates = DuplicateRows()
    optional = dict(_INTERACTIONS_OPTIONAL)
    if kinds is not None:
        optional["rating"] = NUMBER_OR_TEXT
    with open_parquet(path, _INTERACTIONS, optional) as file:
        schema = _output_schema(file)
        progress.start("import interactions", file.row_count)
        for batch in read_batches(file, path):
            triage = Triage(batch.row_count)
            users, items = batch.strings("user_id", triage), batch.strings("item_id", triage)
            checks.check_ids(triage, users, "user_id")
            checks.check_ids(triage, items, "item_id")
            times, known = batch.times("timestamp", triage)
            triage.reject(~known, Reason.MISSING_FIELD, "timestamp")
            checks.check_times(triage, times, known, "timestamp", latest)
            rows = pd.DataFrame({"user_id": users, "item_id": items, "timestamp": times})
            if "rating" in schema.names:
                rows["rating"] = batch.numbers("rating", triage)
            if "event" in schema.names:
                checks.check_optional_ids(triage, batch.strings("event", triage), "event")
                rows["event"] = checks.check_kinds(triage, batch.strings("event", triage), "event", kinds)
            unknown = ~checks.per_distinct(items, lambda item_id: item_id in item_ids)
            triage.reject(unknown, Reason.UNKNOWN_ITEM, "item_id")
            triage.reject(duplicates.check(rows, triage.accepted), Reason.DUPLICATE_ROW)
            _close_batch(session, path, batch, triage)
            kept = triage.accepted
            columns = [_text(users[kept]), _text(items[kept]), _instants(times[kept], known[kept])]
            columns += [pa.array(rows.loc[kept, name], schema.field(name).type) for name in schema.names[3:]]
            session.append_interactions(pa.Table.from_arrays(columns, schema=schema))
            progress.advance(batch.row_count, f"{session.interactions:,} kept")
    session.interactions_done(path)
    progress.finish(f"{session.interactions:,} kept")


def _output_schema(file: ParquetParts) -> pa.Schema:
    schema = INTERACTIONS_SCHEMA
    for field in (RATING, EVENT):
        if field.name in file.schema_arrow.names:
            schema = schema.append(field)
    return schema


def _close_batch(session: ImportSession, path: Path, batch: Batch, triage: Triage) -> None:
    def raw(row: int) -> str:
        return json.dumps(batch.row(row), default=_described, ensure_ascii=False)

    rows = triage.quarantined(lambda row: batch.first_row + row, raw)
    session.quarantine(path, rows, rows_read=batch.row_count)
    session.repaired(path, triage.repaired())


def _described(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _filled(values: Objects, default: str) -> Objects:
    return checks.as_objects([default if checks.is_blank(value) else value for value in values])


def _text(values: Objects) -> pa.Array:
    return pa.array(values, pa.string())


def _instants(micros: NDArray[np.int64], known: NDArray[np.bool_]) -> pa.Array:
    return pa.array(micros, pa.int64(), mask=~known).cast(TIMESTAMP)
