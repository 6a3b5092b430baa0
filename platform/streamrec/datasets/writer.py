"""Writing a data folder in the neutral format: streamed, deterministic, published in one step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from streamrec.datasets.dataset import INTERACTIONS_FILE, ITEMS_FILE, USERS_FILE, Dataset
from streamrec.datasets.folders import replaced_folder
from streamrec.datasets.quarantine import QUARANTINE_FILE

REPORT_FILE: Final = "import_report.json"

OWNED_FILES: Final = frozenset({INTERACTIONS_FILE, ITEMS_FILE, USERS_FILE, QUARANTINE_FILE, REPORT_FILE})
"""Everything that a data folder may hold; a folder with anything else is never overwritten."""

TIMESTAMP: Final = pa.timestamp("us", tz="UTC")

INTERACTIONS_SCHEMA: Final = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("timestamp", TIMESTAMP, nullable=False),
    ]
)
"""The required columns; `RATING` and `EVENT` are appended where the source has them."""

RATING: Final = pa.field("rating", pa.float64())
EVENT: Final = pa.field("event", pa.string())

ITEMS_SCHEMA: Final = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("creator_id", pa.string()),
        pa.field("creator_language", pa.string()),
        pa.field("topics", pa.list_(pa.string())),
        pa.field("published_at", TIMESTAMP),
    ]
)

USERS_SCHEMA: Final = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("country", pa.string()),
        pa.field("language", pa.string()),
        pa.field("age_band", pa.string()),
        pa.field("signup_channel", pa.string()),
        pa.field("signed_up_at", TIMESTAMP),
    ]
)


class DatasetWriter:
    """Writes the files of one data folder. The same tables in the same order give the same bytes."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder: Final = folder
        self._stack = stack
        self._interactions: pq.ParquetWriter | None = None

    def write_items(self, items: pa.Table) -> None:
        """Write the catalogue; columns of `ITEMS_SCHEMA`."""
        pq.write_table(items.cast(ITEMS_SCHEMA), self.folder / ITEMS_FILE, compression="zstd")

    def write_users(self, users: pa.Table) -> None:
        """Write the users; columns of `USERS_SCHEMA`."""
        pq.write_table(users.cast(USERS_SCHEMA), self.folder / USERS_FILE, compression="zstd")

    def append_interactions(self, interactions: pa.Table) -> None:
        """Append a chunk, one row group of the file; every chunk has the first one's columns."""
        if self._interactions is None:
            path = self.folder / INTERACTIONS_FILE
            self._interactions = self._stack.enter_context(
                pq.ParquetWriter(path, interactions.schema, compression="zstd")
            )
        self._interactions.write_table(interactions)


def write_dataset(dataset: Dataset, output: Path) -> None:
    """Write a data set that is in memory, with all that was added to it, as a data folder.

    Reading it again gives the same data. Its fingerprint is another one: it is of the files.

    Raises:
        DataFolderError: As `dataset_writer`.
    """
    catalogue, interactions = dataset.catalogue, dataset.interactions
    columns = {name: pa.array(interactions[name], pa.string()) for name in ("user_id", "item_id")}
    columns["timestamp"] = pa.array(interactions["timestamp"]).cast(TIMESTAMP, safe=False)
    for field in (RATING, EVENT):
        if field.name in interactions:
            columns[field.name] = pa.array(interactions[field.name], field.type, from_pandas=True)
    items = {
        "item_id": catalogue.item_ids,
        "title": catalogue.titles,
        "creator_id": catalogue.creator_ids,
        "creator_language": catalogue.creator_languages,
        "topics": [list(topics) for topics in catalogue.topics],
        "published_at": pa.array(catalogue.published_at).cast(pa.timestamp("us")).cast(TIMESTAMP),
    }
    users = pa.Table.from_pandas(dataset.users[USERS_SCHEMA.names], preserve_index=False)
    with dataset_writer(output) as writer:
        writer.write_items(pa.table(items).cast(ITEMS_SCHEMA))
        writer.write_users(users.cast(USERS_SCHEMA, safe=False))
        writer.append_interactions(pa.table(columns))


@contextmanager
def dataset_writer(output: Path) -> Iterator[DatasetWriter]:
    """Yield a writer; what it has written becomes ``output`` when the block ends without an error.

    An earlier data folder at ``output`` is replaced whole: a reader sees the old one or the new one.

    Raises:
        DataFolderError: ``output`` cannot be written or holds files that are no data folder's.
    """
    with replaced_folder(output, OWNED_FILES) as folder, ExitStack() as stack:
        yield DatasetWriter(folder, stack)
