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
    TEXT,
    TIME,
    TOPICS,
    Batch,
    ColumnKind,
    Rows,
    Texts,
    open_parquet,
)
from streamrec.datasets.importers.repeated_rows import DuplicateRows, repeated_ids, row_hashes, value_hashes
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
    latest = checks.latest_timestamp(now)
    with import_session(source, output) as session:
        with open_parquet(source / ITEMS_FILE, _ITEMS, {}) as items:
            item_ids = import_items(session, items)
        if (source / USERS_FILE).exists():
            with open_parquet(source / USERS_FILE, _USERS, _USERS_OPTIONAL) as users:
                import_users(session, users, latest)
        with open_parquet(source / INTERACTIONS_FILE, _INTERACTIONS, _INTERACTIONS_OPTIONAL) as interactions:
            import_interactions(session, interactions, item_ids, latest, progress)
    return session.report()


def import_items(session: ImportSession, rows: Rows) -> frozenset[str]:
    """Check and write the catalogue; return its ids.

    Raises:
        DataFolderError: No item can be used.
    """
    seen: set[str] = set()
    tables: list[pa.Table] = []
    for batch in rows.batches:
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
        _close_batch(session, rows.path, batch, triage)
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
    session.write_items(rows.path, pa.concat_tables(tables) if tables else ITEMS_SCHEMA.empty_table())
    return frozenset(seen)


def import_users(session: ImportSession, rows: Rows, latest: datetime) -> None:
    """Check and write the users; nobody signed up after ``latest``."""
    seen: set[str] = set()
    tables: list[pa.Table] = []
    for batch in rows.batches:
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
        _close_batch(session, rows.path, batch, triage)
        kept = triage.accepted
        columns = [_text(values[kept]) for values in (user_ids, *segments)]
        tables.append(
            pa.Table.from_arrays([*columns, _instants(signed_up_at[kept], known[kept])], schema=USERS_SCHEMA)
        )
    session.write_users(pa.concat_tables(tables) if tables else USERS_SCHEMA.empty_table())


def import_interactions(
    session: ImportSession,
    rows: Rows,
    item_ids: frozenset[str] | None,
    latest: datetime,
    progress: Progress,
    kinds: Mapping[str, InteractionKind] | None = None,
) -> frozenset[str]:
    """Check and write the interactions; return the item ids among them that can be used.

    Args:
        session: Where the rows go.
        rows: To be read.
        item_ids: The catalogue; None: every item is known.
        latest: No event is later.
        progress: Shows what is read.
        kinds: Words for events beside our own, in lower case (see `interaction_kind`).

    Raises:
        DataFolderError: No interaction can be used.
    """
    duplicates = DuplicateRows()
    found: set[str] = set()
    schema = _output_schema(rows)
    progress.start("import interactions", rows.size)
    for batch in rows.batches:
        triage = Triage(batch.row_count)
        users, items = batch.coded("user_id"), batch.coded("item_id")
        _check_ids(triage, users, "user_id")
        item_faults = _check_ids(triage, items, "item_id")
        if item_ids is None:
            found.update(items.values[item_faults.accepted].tolist())
        times, known = batch.times("timestamp", triage)
        triage.reject(~known, Reason.MISSING_FIELD, "timestamp")
        checks.check_times(triage, times, known, "timestamp", latest)
        values: dict[str, NDArray[Any]] = {}
        if "rating" in schema.names:
            values["rating"] = batch.numbers("rating", triage)
        if "event" in schema.names:
            words = batch.coded("event")
            values["event"] = _checked_kinds(triage, words, kinds)
        if item_ids is not None:
            item_faults.reject(_unknown(items.values, item_ids), Reason.UNKNOWN_ITEM, "item_id")
            triage.reject_by_value(item_faults, items.codes, "item_id")
        hashes = [value_hashes(texts.values, distinct=True)[texts.codes] for texts in (users, items)]
        hashes += [value_hashes(column) for column in (times, *values.values())]
        triage.reject(duplicates.check(row_hashes(*hashes), triage.accepted), Reason.DUPLICATE_ROW)
        _close_batch(session, rows.path, batch, triage)
        kept = triage.accepted
        columns = [users.kept(kept), items.kept(kept), _instants(times[kept], known[kept])]
        columns += [
            pa.array(column[kept], schema.field(name).type, from_pandas=True)
            for name, column in values.items()
        ]
        session.append_interactions(pa.Table.from_arrays(columns, schema=schema))
        progress.advance(batch.size, f"{session.interactions:,} kept")
    session.interactions_done(rows.path)
    progress.finish(f"{session.interactions:,} kept")
    return frozenset(found)


def _check_ids(triage: Triage, texts: Texts, field: str) -> Triage:
    """Reject the rows of unusable identifiers; return what speaks against the distinct ones."""
    faults = Triage(len(texts.values))
    checks.check_ids(faults, texts.values, field)
    triage.reject_by_value(faults, texts.codes, field)
    return faults


def _checked_kinds(triage: Triage, words: Texts, kinds: Mapping[str, InteractionKind] | None) -> Objects:
    """Shape (rows,): the kind of each event in our word for it; None for none."""
    faults = Triage(len(words.values))
    checks.check_utf8(faults, words.values, "event")
    checks.check_optional_ids(faults, words.values, "event")
    known = checks.check_kinds(faults, words.values, "event", kinds)
    triage.reject_by_value(faults, words.codes, "event")
    return known[words.codes]


def _unknown(values: Objects, item_ids: frozenset[str]) -> NDArray[np.bool_]:
    return np.fromiter((value not in item_ids for value in values.tolist()), np.bool_, len(values))


def _output_schema(rows: Rows) -> pa.Schema:
    schema = INTERACTIONS_SCHEMA
    for field in (RATING, EVENT):
        if field.name in rows.names:
            schema = schema.append(field)
    return schema


def _close_batch(session: ImportSession, path: Path, batch: Batch, triage: Triage) -> None:
    rejected = triage.rejected_rows
    shown = dict(zip(rejected.tolist(), batch.shown(rejected), strict=True))

    def raw(row: int) -> str:
        return json.dumps(shown[row], default=_described, ensure_ascii=False)

    rows = triage.quarantined(batch.number, raw)
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
