"""The item table that a replica caches whole, from the offline tables."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streamrec.contracts.errors import DamagedRowError, NotReadyError
from streamrec.datasets.catalogue import Catalogue
from streamrec.features.names import OFFLINE_FOLDER
from streamrec.features.store import ItemCounts, ItemTable, without_pause
from streamrec.features.tables import newest_rows
from streamrec.features.user_tables import EVENT_TIMESTAMP

_TABLES = ("items", "item_popularity")
"""Names of the offline tables (`FeatureTables`) that it is made from."""


_STEP_ROWS: Final = 2_000
"""Rows that are made objects of Python in one step: well below a millisecond."""

_ITEM_COLUMNS: Final[Mapping[str, Callable[[pa.DataType], bool]]] = {
    "item_id": pa.types.is_string,
    "title": pa.types.is_string,
    "creator_id": pa.types.is_string,
    "creator_language": pa.types.is_string,
    "topics": pa.types.is_list,
    "published_at": pa.types.is_timestamp,
}
_POPULARITY_COLUMNS: Final[Mapping[str, Callable[[pa.DataType], bool]]] = {
    "item_id": pa.types.is_string,
    "interaction_count": pa.types.is_integer,
}
_WHOLE: Final = frozenset({"item_id", "creator_id", "creator_language", "interaction_count"})
"""What every item has."""


def item_table_of(items: pa.Table, item_popularity: pa.Table) -> ItemTable:
    """Join content and the newest popularity of every item.

    Args:
        items: As `FeatureTables.items`.
        item_popularity: As `FeatureTables.item_popularity`, in any order.

    Raises:
        NotReadyError: There is no item.
        DamagedRowError: A column is missing, holds another type, or lacks a value that every item has.
    """
    _check(items, _ITEM_COLUMNS, "items")
    _check(item_popularity, _POPULARITY_COLUMNS, "item_popularity")
    if not items.num_rows:
        raise NotReadyError("the feature store has no items; run 'streamrec features materialize'")
    items = items.sort_by("item_id")
    published_at = items["published_at"].to_numpy().astype("datetime64[s]")
    catalogue = Catalogue(
        item_ids=tuple(items["item_id"].to_pylist()),
        titles=tuple(items["title"].to_pylist()),
        creator_ids=tuple(items["creator_id"].to_pylist()),
        creator_languages=tuple(items["creator_language"].to_pylist()),
        topics=tuple(tuple(topics or ()) for topics in items["topics"].to_pylist()),
        published_at=published_at,
    )
    counts = np.zeros(len(catalogue), dtype=np.int64)
    popularity = newest_rows(item_popularity, "item_id")
    counts[catalogue.rows(popularity["item_id"].to_pylist())] = popularity["interaction_count"].to_numpy()
    return ItemTable(catalogue, counts, _revision(catalogue, counts))


def read_item_counts(folder: Path, revision: str, pause: Callable[[], None] = without_pause) -> ItemCounts:
    """`ItemCounts` of the published offline tables, in small steps.

    Arrow and NumPy let go of the interpreter's lock while they work on whole columns. What makes objects of
    Python, or puts them into a dictionary, goes by `_STEP_ROWS` rows.

    Args:
        folder: As `FeatureSettings.folder`.
        revision: Of what is read.
        pause: Called between two steps.

    Raises:
        NotReadyError: Nothing has been materialised yet, a table cannot be read, or there is no item.
        DamagedRowError: A column holds another type, or lacks a value that every item has.
    """
    items = _read(folder, "items", ["item_id", "creator_language"])
    _check(items, {name: _ITEM_COLUMNS[name] for name in ("item_id", "creator_language")}, "items")
    pause()
    popularity = _read(folder, "item_popularity", ["item_id", "interaction_count", EVENT_TIMESTAMP])
    _check(popularity, _POPULARITY_COLUMNS, "item_popularity")
    pause()
    if not items.num_rows:
        raise NotReadyError("the feature store has no items; run 'streamrec features materialize'")
    items = items.sort_by("item_id").combine_chunks()
    pause()
    ids = items["item_id"].combine_chunks()
    # By item and time: the last of each item is its newest.
    popularity = popularity.sort_by([("item_id", "ascending"), (EVENT_TIMESTAMP, "ascending")])
    pause()
    rows = pc.index_in(popularity["item_id"].combine_chunks(), ids).to_numpy(zero_copy_only=False)
    pause()
    known = ~np.isnan(rows) if rows.dtype.kind == "f" else np.ones(len(rows), dtype=np.bool_)
    counts = np.zeros(len(ids), dtype=np.int64)
    # Of repeated rows NumPy's assignment keeps the last.
    counts[rows[known].astype(np.int64)] = popularity["interaction_count"].to_numpy()[known]
    languages = pc.unique(items["creator_language"]).sort()
    codes = pc.index_in(items["creator_language"].combine_chunks(), languages).to_numpy().astype(np.int32)
    pause()
    item_ids: list[str] = []
    row_of: dict[str, int] = {}
    for start in range(0, len(ids), _STEP_ROWS):
        # One object an id in a process: a look-up that finds it need not compare texts.
        step = [sys.intern(item_id) for item_id in ids.slice(start, _STEP_ROWS).to_pylist()]
        item_ids += step
        row_of.update(zip(step, range(start, start + len(step)), strict=True))
        pause()
    return ItemCounts(tuple(item_ids), row_of, tuple(languages.to_pylist()), codes, counts, revision)


def _read(folder: Path, name: str, columns: list[str]) -> pa.Table:
    try:
        # One thread: the others of the machine belong to requests.
        return pq.read_table(folder / OFFLINE_FOLDER / f"{name}.parquet", columns=columns, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise NotReadyError(
            f"{folder} has no items; run 'streamrec features materialize' ({error})"
        ) from error


def _check(table: pa.Table, columns: Mapping[str, Callable[[pa.DataType], bool]], name: str) -> None:
    """Nothing is guessed: an item without a language would be shown to nobody, and nobody would know why."""
    for column, is_right in columns.items():
        if column not in table.column_names:
            problem = "is missing"
        elif not is_right(table.schema.field(column).type):
            problem = f"holds {table.schema.field(column).type}"
        elif column in _WHOLE and table[column].null_count:
            problem = f"lacks {table[column].null_count} of {table.num_rows} values"
        else:
            continue
        raise DamagedRowError(f"column {column} of the offline table {name} {problem}: materialise anew")


def read_item_table(folder: Path) -> ItemTable:
    """`item_table_of` the published offline tables, without the store: no online row is needed for items.

    Args:
        folder: As `FeatureSettings.folder`.

    Raises:
        NotReadyError: Nothing has been materialised yet, or a table cannot be read.
    """
    offline = folder / OFFLINE_FOLDER
    try:
        items, popularity = (pq.read_table(offline / f"{name}.parquet") for name in _TABLES)
    except (OSError, pa.ArrowException) as error:
        raise NotReadyError(
            f"{folder} has no items; run 'streamrec features materialize' ({error})"
        ) from error
    return item_table_of(items, popularity)


def _revision(catalogue: Catalogue, counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> str:
    digest = hashlib.sha256()
    for column in (
        catalogue.item_ids,
        catalogue.titles,
        catalogue.creator_ids,
        catalogue.creator_languages,
        catalogue.topics,
    ):
        digest.update(json.dumps(column).encode())
    digest.update(catalogue.published_at.astype(np.int64).tobytes())
    digest.update(counts.tobytes())
    return digest.hexdigest()
