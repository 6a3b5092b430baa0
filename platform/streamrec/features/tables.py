"""Feature tables from a dataset: pure arithmetic on arrays, no Feast and no files.

Every row carries an ``event_timestamp``, the time from which it may be known: a row stamped T is computed
from interactions before T alone. A training frame that joins the newest row at or before a time t, as Feast
does, therefore never sees an interaction at or after t.

- ``users``, ``items``: one row each; segments and content do not change.
- ``user_activity``: one row after each of a user's sessions, stamped one second after its last event.
- ``user_rejections``: the same of dislikes and skips; only users who have any are in it.
- ``item_popularity``, ``creators``: one row at the end of each week in which something changed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import SEGMENT_COLUMNS, Dataset
from streamrec.features.user_tables import (
    EVENT_TIMESTAMP,
    MAX_HISTORY_CELLS,
    TIME,
    activity_table,
    rejections_table,
    times_of,
)

WEEK_SECONDS: Final = 7 * 24 * 60 * 60
_MONDAY_OFFSET: Final = 4 * 24 * 60 * 60
"""1970-01-01 was a Thursday; weeks begin on Monday, 00:00 UTC."""


class InteractionHistory(Protocol):
    """Every user's items in the order of time, as one ragged array: `training.splits.UserHistories`."""

    @property
    def user_ids(self) -> tuple[str, ...]:
        """Length u, sorted."""
        ...

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Shape (u + 1,): user i owns ``items[offsets[i]:offsets[i + 1]]``."""
        ...

    @property
    def items(self) -> NDArray[np.int32]:
        """Shape (n,): catalogue rows, oldest first within a user."""
        ...

    @property
    def timestamps(self) -> NDArray[np.int64]:
        """Shape (n,): whole seconds since 1970, UTC."""
        ...


@dataclass(frozen=True)
class FeatureTables:
    """The offline feature tables; each has its entity's id and ``event_timestamp``.

    Attributes:
        users: user_id, the segment columns.
        items: item_id, title, creator_id, creator_language, topics, published_at.
        item_popularity: item_id, interaction_count.
        creators: creator_id, language, item_count, interaction_count.
        user_activity: user_id, event_count, last_event_at, history (list of item ids, oldest first) and
            history_times (their times in microseconds since 1970, UTC).
        user_rejections: user_id, disliked and skipped (lists of item ids, oldest first), disliked_times and
            skipped_times.
    """

    users: pa.Table
    items: pa.Table
    item_popularity: pa.Table
    creators: pa.Table
    user_activity: pa.Table
    user_rejections: pa.Table

    def named(self) -> dict[str, pa.Table]:
        """The tables by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def newest(self) -> datetime | None:
        """The latest ``event_timestamp`` of all tables; None where all are empty."""
        stamps = [pa.compute.max(table[EVENT_TIMESTAMP]).as_py() for table in self.named().values()]
        return max((stamp for stamp in stamps if stamp is not None), default=None)

    @property
    def newest_event(self) -> datetime | None:
        """Time of the newest event of a user, to the second; None without any."""
        tables = (self.user_activity, self.user_rejections)
        stamps = [pa.compute.max(table[EVENT_TIMESTAMP]).as_py() for table in tables]
        newest = max((stamp for stamp in stamps if stamp is not None), default=None)
        return None if newest is None else newest - timedelta(seconds=1)


@dataclass(frozen=True)
class _History:
    """`InteractionHistory` with the user of each interaction."""

    user_ids: tuple[str, ...]
    users: NDArray[np.int64]
    items: NDArray[np.int64]
    micros: NDArray[np.int64]

    @cached_property
    def seconds(self) -> NDArray[np.int64]:
        return self.micros // 1_000_000


def build_feature_tables(
    dataset: Dataset,
    history: InteractionHistory | None = None,
    *,
    max_history_cells: int = MAX_HISTORY_CELLS,
) -> FeatureTables:
    """Compute all feature tables of ``dataset``.

    Args:
        dataset: Users and catalogue.
        history: The interactions to compute from, for example those that an evaluation does not hold out;
            default: all of the dataset's.
        max_history_cells: Bound of the items in all rows of ``user_activity`` together.
    """
    flat = _flatten(history) if history is not None else _of_dataset(dataset)
    catalogue = dataset.catalogue
    known_since = _items_known_since(catalogue, flat)
    return FeatureTables(
        users=_users(dataset, flat),
        items=_items(catalogue, known_since),
        item_popularity=_item_popularity(catalogue, flat, known_since),
        creators=_creators(catalogue, flat, known_since),
        user_activity=activity_table(
            catalogue, flat.user_ids, flat.users, flat.items, flat.micros, max_history_cells
        ),
        user_rejections=rejections_table(dataset, max_history_cells),
    )


def _flatten(history: InteractionHistory) -> _History:
    users = np.repeat(np.arange(len(history.user_ids)), np.diff(history.offsets))
    return _History(
        history.user_ids,
        users,
        history.items.astype(np.int64),
        history.timestamps.astype(np.int64) * 1_000_000,
    )


def _of_dataset(dataset: Dataset) -> _History:
    interactions = dataset.positive_interactions
    user_ids, users = np.unique(interactions["user_id"].to_numpy(dtype=str), return_inverse=True)
    row_of = dataset.catalogue.row_of
    items = np.fromiter((row_of[item] for item in interactions["item_id"]), np.int64, len(interactions))
    times = interactions["timestamp"].dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    order = np.argsort(users, kind="stable")  # the frame is sorted by time
    return _History(tuple(map(str, user_ids)), users[order], items[order], times.astype(np.int64)[order])


def _items_known_since(catalogue: Catalogue, history: _History) -> NDArray[np.int64]:
    """Shape (items,): seconds of publication or, where unknown or too late, of the first interaction."""
    first = np.full(len(catalogue), np.iinfo(np.int64).max)
    np.minimum.at(first, history.items, history.seconds)
    published = catalogue.published_at.astype("datetime64[s]")
    dated = ~np.isnat(published)
    since = np.where(dated, published.astype(np.int64), 0)
    # An announced, future date would stamp the row after everything that happened.
    newest = int(history.seconds.max(initial=0))
    known_since: NDArray[np.int64] = np.clip(np.minimum(np.minimum(since, first), newest), 0, None)
    return known_since


def _users(dataset: Dataset, history: _History) -> pa.Table:
    users = dataset.users
    first = pd.Series(history.seconds).groupby(history.users).min()
    first_of = dict(zip((history.user_ids[code] for code in first.index), first.tolist(), strict=True))
    signed_up = users["signed_up_at"].dt.tz_localize(None).to_numpy().astype("datetime64[s]")
    newest = int(history.seconds.max(initial=0))
    seconds = [
        max(
            0,
            min(newest if np.isnat(moment) else int(moment.astype(np.int64)), first_of.get(user_id, newest)),
        )
        if user_id in first_of or not np.isnat(moment)
        else 0
        for user_id, moment in zip(users["user_id"], signed_up, strict=True)
    ]
    columns = {name: pa.array(users[name], pa.string()) for name in ("user_id", *SEGMENT_COLUMNS)}
    return pa.table({**columns, EVENT_TIMESTAMP: times_of(np.array(seconds, dtype=np.int64))})


def _items(catalogue: Catalogue, known_since: NDArray[np.int64]) -> pa.Table:
    published = catalogue.published_at.astype("datetime64[us]").astype(np.int64)
    return pa.table(
        {
            "item_id": pa.array(catalogue.item_ids, pa.string()),
            "title": pa.array(catalogue.titles, pa.string()),
            "creator_id": pa.array(catalogue.creator_ids, pa.string()),
            "creator_language": pa.array(catalogue.creator_languages, pa.string()),
            "topics": pa.array([list(topics) for topics in catalogue.topics], pa.list_(pa.string())),
            "published_at": pa.array(published, pa.int64(), mask=np.isnat(catalogue.published_at)).cast(TIME),
            EVENT_TIMESTAMP: times_of(known_since),
        }
    )


def _item_popularity(catalogue: Catalogue, history: _History, known_since: NDArray[np.int64]) -> pa.Table:
    """An item without interactions yet counts zero from when it is known."""
    items, ends, (counts,) = _weekly_totals(
        history.items, history.seconds, (np.ones(len(history.items), dtype=np.int64),), _as_of(history)
    )
    everything = np.arange(len(catalogue))
    keys = np.concatenate((everything, items))
    stamps = np.concatenate((known_since, ends))
    totals = np.concatenate((np.zeros(len(catalogue), dtype=np.int64), counts))
    order = np.lexsort((totals, stamps, keys))
    return pa.table(
        {
            "item_id": pa.array(catalogue.item_ids, pa.string()).take(pa.array(keys[order])),
            "interaction_count": pa.array(totals[order]),
            EVENT_TIMESTAMP: times_of(stamps[order]),
        }
    )


def _creators(catalogue: Catalogue, history: _History, known_since: NDArray[np.int64]) -> pa.Table:
    creator_ids, creator_of = np.unique(np.array(catalogue.creator_ids, dtype=object), return_inverse=True)
    language_codes = catalogue.language_codes
    # A creator's language is that of most of the creator's items; the first by name among equals.
    language_counts = pd.Series(1, index=pd.MultiIndex.from_arrays([creator_of, language_codes]))
    totals = language_counts.groupby(level=[0, 1]).sum().reset_index(name="items")
    totals = totals.sort_values(["level_0", "items", "level_1"], ascending=[True, False, True])
    languages = totals.drop_duplicates("level_0")["level_1"].to_numpy()
    published, watched = len(catalogue), len(history.items)
    creators, ends, (item_counts, interaction_counts) = _weekly_totals(
        np.concatenate((creator_of, creator_of[history.items])),
        np.concatenate((known_since, history.seconds)),
        (np.repeat([1, 0], [published, watched]), np.repeat([0, 1], [published, watched])),
        _as_of(history),
    )
    return pa.table(
        {
            "creator_id": pa.array(creator_ids, pa.string()).take(pa.array(creators)),
            "language": pa.array(catalogue.languages, pa.string()).take(pa.array(languages[creators])),
            "item_count": pa.array(item_counts),
            "interaction_count": pa.array(interaction_counts),
            EVENT_TIMESTAMP: times_of(ends),
        }
    )


def _weekly_totals(
    keys: NDArray[np.int64],
    seconds: NDArray[np.int64],
    amounts: tuple[NDArray[np.int64], ...],
    as_of: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[NDArray[np.int64], ...]]:
    """Running totals of ``amounts`` per key at the end of each week in which the key occurs.

    Returns:
        Key, end of week and totals of each row, sorted by key and time. The running week ends at ``as_of``.
    """
    weeks = (seconds - _MONDAY_OFFSET) // WEEK_SECONDS
    order = np.lexsort((weeks, keys))
    keys, weeks = keys[order], weeks[order]
    last_of_week = np.ones(len(keys), dtype=np.bool_)
    last_of_week[:-1] = (keys[1:] != keys[:-1]) | (weeks[1:] != weeks[:-1])
    first_of_key = np.flatnonzero(np.diff(keys, prepend=-1))
    lengths = np.diff(first_of_key, append=len(keys))
    totals = []
    for amount in amounts:
        running = np.concatenate(([0], np.cumsum(amount[order])))
        before = np.repeat(running[first_of_key], lengths)
        totals.append((running[1:] - before)[last_of_week])
    ends = (weeks[last_of_week] + 1) * WEEK_SECONDS + _MONDAY_OFFSET
    return keys[last_of_week], np.minimum(ends, as_of), tuple(totals)


def _as_of(history: _History) -> int:
    """One second after the newest interaction: everything in the history may be known then."""
    return int(history.seconds.max(initial=-1)) + 1


def newest_rows(table: pa.Table, key: str) -> pa.Table:
    """The newest row of each entity, sorted by ``key``; among equal times the one that stands last."""
    keys = table[key].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    order = np.lexsort((table[EVENT_TIMESTAMP].to_numpy(), keys))
    last = np.ones(len(order), dtype=np.bool_)
    last[:-1] = keys[order][1:] != keys[order][:-1]
    return table.take(pa.array(order[last])).sort_by(key)


def empty_tables() -> FeatureTables:
    """The tables of a dataset without users and items."""
    ids = pd.Series(dtype=object)
    times = pd.Series(dtype="datetime64[ns, UTC]")
    interactions = pd.DataFrame({"user_id": ids, "item_id": ids, "timestamp": times})
    users = pd.DataFrame({"user_id": ids, **dict.fromkeys(SEGMENT_COLUMNS, ids), "signed_up_at": times})
    catalogue = Catalogue((), (), (), (), (), np.array([], dtype="datetime64[s]"))
    return build_feature_tables(Dataset(Path(), catalogue, interactions, users))
