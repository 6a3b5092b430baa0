"""Reading a data folder in the neutral format.

interactions.parquet   user_id, item_id, timestamp (UTC) [, rating, event]
items.parquet          item_id, title, creator_id, creator_language, topics (list), published_at (nullable)
users.parquet          user_id [, country, language, age_band, signup_channel, signed_up_at]   (optional)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from streamrec.contracts.conventions import UNKNOWN
from streamrec.contracts.errors import DataFolderError
from streamrec.contracts.events import InteractionKind
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.value_checks import check_finite, check_present, check_texts, parsed_times

INTERACTIONS_FILE: Final = "interactions.parquet"
ITEMS_FILE: Final = "items.parquet"
USERS_FILE: Final = "users.parquet"

_NEGATIVE_EVENTS: Final = tuple(kind.value for kind in InteractionKind if not kind.positive)

SEGMENT_COLUMNS: Final = ("country", "language", "age_band", "signup_channel")
_READ_ATTEMPTS: Final = 5

_REQUIRED_COLUMNS: Final = {
    INTERACTIONS_FILE: ("user_id", "item_id", "timestamp"),
    ITEMS_FILE: ("item_id", "title", "creator_id", "creator_language", "topics", "published_at"),
    USERS_FILE: ("user_id",),
}

_NEVER_MISSING: Final = {
    INTERACTIONS_FILE: ("user_id", "item_id", "timestamp"),
    ITEMS_FILE: ("item_id",),
    USERS_FILE: ("user_id",),
}


@dataclass(frozen=True)
class Dataset:
    """One data folder in memory.

    Attributes:
        folder: Where it was read from.
        catalogue: Every item.
        interactions: Columns user_id (str), item_id (str), timestamp (datetime64[ns, UTC]) and, where the
            source has them, rating and event; sorted by timestamp, ties in the file's order.
        users: Columns user_id, country, language, age_band, signup_channel (str, ``unknown`` where not
            known) and signed_up_at (datetime64[ns, UTC], NaT where not known); one row for every user of
            ``interactions`` or of the users file, sorted by user_id.
        additions: Hash of what was added to the folder's content in memory; empty where nothing was.
    """

    folder: Path
    catalogue: Catalogue
    interactions: pd.DataFrame
    users: pd.DataFrame
    additions: str = ""

    @cached_property
    def positive_interactions(self) -> pd.DataFrame:
        """The interactions that are evidence of interest: all but dislikes and skips."""
        if "event" not in self.interactions:
            return self.interactions
        negative = self.interactions["event"].isin(_NEGATIVE_EVENTS)
        return self.interactions[~negative].reset_index(drop=True)

    @cached_property
    def negative_interactions(self) -> pd.DataFrame:
        """The dislikes and skips, sorted by time; the column event says which. Empty without that column."""
        if "event" not in self.interactions:
            return self.interactions.head(0).assign(event=pd.Series(dtype=object))
        negative = self.interactions["event"].isin(_NEGATIVE_EVENTS)
        return self.interactions[negative].reset_index(drop=True)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the folder's files and additions, hexadecimal: same bytes, same fingerprint."""
        digest = hashlib.sha256(self.additions.encode())
        for name in (INTERACTIONS_FILE, ITEMS_FILE, USERS_FILE):
            path = self.folder / name
            digest.update(name.encode())
            if path.exists():
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def load_dataset(folder: Path) -> Dataset:
    """Read a data folder that an importer or the world generator wrote.

    The files belong together and to the fingerprint, even where a writer replaces the folder meanwhile.

    Raises:
        DataFolderError: A file is missing or unreadable, a required column is missing or holds a value that
            is missing or not one, the catalogue is empty, or an interaction names an item that the catalogue
            lacks.
    """
    for _ in range(_READ_ATTEMPTS):
        before = _identity(folder)
        try:
            dataset = _load(folder)
            _ = dataset.fingerprint  # of the bytes that were just read, not of a later import's
        except (DataFolderError, FileNotFoundError):
            if _identity(folder) == before:
                raise
            continue
        if _identity(folder) == before:
            return dataset
    raise DataFolderError(folder, None, "the folder was replaced again and again while it was being read")


def _identity(folder: Path) -> tuple[int, int] | None:
    """Tells a replaced folder from the one before; a writer never changes a published folder in place."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _load(folder: Path) -> Dataset:
    items = _read(folder / ITEMS_FILE)
    interactions = _read(folder / INTERACTIONS_FILE)
    catalogue = _catalogue(items, folder / ITEMS_FILE)
    interactions = interactions.assign(
        user_id=interactions["user_id"].astype(str),
        item_id=interactions["item_id"].astype(str),
        timestamp=parsed_times(folder / INTERACTIONS_FILE, interactions["timestamp"], "timestamp"),
    )
    interactions = interactions.sort_values("timestamp", kind="stable", ignore_index=True)
    unknown = ~interactions["item_id"].isin(catalogue.row_of.keys())
    if unknown.any():
        example = interactions.loc[unknown, "item_id"].iloc[0]
        raise DataFolderError(
            folder / INTERACTIONS_FILE,
            "item_id",
            f"{int(unknown.sum())} interactions name an item that {ITEMS_FILE} lacks, for example "
            f"{example!r}; import the folder with 'streamrec data import neutral' to quarantine them",
        )
    users_path = folder / USERS_FILE
    users = _read(users_path) if users_path.exists() else pd.DataFrame({"user_id": pd.Series(dtype=str)})
    if "signed_up_at" in users:
        users = users.assign(signed_up_at=parsed_times(users_path, users["signed_up_at"], "signed_up_at"))
    return Dataset(folder, catalogue, interactions, users_frame(users, interactions))


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise DataFolderError(
            path, None, "the file does not exist; import the data with 'streamrec data import'"
        )
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataFolderError(path, None, f"not a readable Parquet file ({error})") from error
    for column in _REQUIRED_COLUMNS[path.name]:
        if column not in table.column_names:
            raise DataFolderError(path, column, f"the column is missing; the file has {table.column_names}")
    check_present(path, table, _NEVER_MISSING[path.name])
    check_finite(path, table, ("rating",))
    if path.name == ITEMS_FILE:
        check_texts(path, table, "topics")
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _catalogue(items: pd.DataFrame, path: Path) -> Catalogue:
    if items.empty:
        raise DataFolderError(path, None, "the catalogue is empty")
    items = items.assign(item_id=items["item_id"].astype(str)).sort_values("item_id", ignore_index=True)
    if items["item_id"].duplicated().any():
        example = items.loc[items["item_id"].duplicated(), "item_id"].iloc[0]
        raise DataFolderError(path, "item_id", f"the item {example!r} stands in more than one row")
    published_at = parsed_times(path, items["published_at"], "published_at").dt.tz_localize(None)
    return Catalogue(
        item_ids=tuple(items["item_id"]),
        titles=tuple(items["title"].fillna("").astype(str)),
        creator_ids=tuple(items["creator_id"].fillna(UNKNOWN).astype(str)),
        creator_languages=tuple(items["creator_language"].fillna(UNKNOWN).astype(str)),
        topics=tuple(tuple(map(str, topics)) if topics is not None else () for topics in items["topics"]),
        published_at=published_at.to_numpy().astype("datetime64[s]"),
    )


def users_frame(users: pd.DataFrame, interactions: pd.DataFrame) -> pd.DataFrame:
    """`Dataset.users` from what is known of some users, and from who interacted."""
    users = users.assign(user_id=users["user_id"].astype(str)).drop_duplicates("user_id", keep="last")
    everyone = np.union1d(users["user_id"].to_numpy(dtype=str), interactions["user_id"].unique().astype(str))
    users = users.set_index("user_id").reindex(everyone)
    for column in SEGMENT_COLUMNS:
        values = users[column] if column in users else pd.Series(UNKNOWN, index=users.index)
        users[column] = values.fillna(UNKNOWN).astype(str)
    signed_up_at = users["signed_up_at"] if "signed_up_at" in users else pd.Series(pd.NaT, index=users.index)
    users["signed_up_at"] = pd.to_datetime(signed_up_at, utc=True).dt.as_unit("ns")
    return users[[*SEGMENT_COLUMNS, "signed_up_at"]].rename_axis("user_id").reset_index()
