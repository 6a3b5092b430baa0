"""The item table that a replica caches whole, from the offline tables."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from streamrec.contracts.errors import NotReadyError
from streamrec.datasets.catalogue import Catalogue
from streamrec.features.names import OFFLINE_FOLDER
from streamrec.features.store import ItemTable
from streamrec.features.tables import newest_rows

_TABLES = ("items", "item_popularity")
"""Names of the offline tables (`FeatureTables`) that it is made from."""


def item_table_of(items: pa.Table, item_popularity: pa.Table) -> ItemTable:
    """Join content and the newest popularity of every item.

    Args:
        items: As `FeatureTables.items`.
        item_popularity: As `FeatureTables.item_popularity`, in any order.

    Raises:
        NotReadyError: There is no item.
    """
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
