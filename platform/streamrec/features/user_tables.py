"""The tables of what users did: snapshots of lists that grow, as arrays."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamrec.contracts.conventions import HISTORY_LIMIT
from streamrec.contracts.events import InteractionKind
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset
from streamrec.features.user_actions import SKIPS_LIMIT

EVENT_TIMESTAMP: Final = "event_timestamp"
TIME: Final = pa.timestamp("us", tz="UTC")

SESSION_GAP_SECONDS: Final = 30 * 60
"""Two events further apart belong to two sessions."""

MAX_SNAPSHOTS_PER_USER: Final = 64
MAX_HISTORY_CELLS: Final = 16_000_000
"""Bound of all histories of ``user_activity`` together, and of all dislikes and skips of ``user_rejections``;
above it, every user keeps fewer snapshots."""


def activity_table(
    catalogue: Catalogue,
    user_ids: tuple[str, ...],
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    micros: NDArray[np.int64],
    max_cells: int,
) -> pa.Table:
    """Build ``user_activity``: one row after each session of a user.

    Args:
        catalogue: Names the items.
        user_ids: Names the users.
        users: Shape (n,): row of each interaction's user, ascending.
        items: Shape (n,): row of its item.
        micros: Shape (n,): microseconds since 1970, UTC, ascending within a user.
        max_cells: Bound of the items in all rows together.
    """
    ends = _session_ends(users, micros // 1_000_000)
    first_event = np.searchsorted(users, users[ends], side="left")
    counts = ends + 1 - first_event
    kept = _thinned(users[ends], np.minimum(counts, HISTORY_LIMIT), max_cells)
    ends, counts, first_event = ends[kept], counts[kept], first_event[kept]
    history, times = _lists(first_event, ends + 1, HISTORY_LIMIT, _texts(catalogue.item_ids), items, micros)
    seconds = micros[ends] // 1_000_000
    return pa.table(
        {
            "user_id": pa.array(user_ids, pa.string()).take(pa.array(users[ends])),
            "event_count": pa.array(counts),
            "last_event_at": times_of(seconds),
            "history": history,
            "history_times": times,
            EVENT_TIMESTAMP: times_of(seconds + 1),
        }
    )


def rejections_table(dataset: Dataset, max_cells: int = MAX_HISTORY_CELLS) -> pa.Table:
    """Build ``user_rejections``: one row after each session in which a user disliked or skipped something."""
    frame = dataset.negative_interactions
    user_ids, users = np.unique(frame["user_id"].to_numpy(dtype=str), return_inverse=True)
    order = np.argsort(users, kind="stable")  # the frame is sorted by time
    users = users[order].astype(np.int64)
    row_of = dataset.catalogue.row_of
    items = np.fromiter((row_of[item] for item in frame["item_id"]), np.int64, len(frame))[order]
    times = frame["timestamp"].dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    micros = times.astype(np.int64)[order]
    is_dislike = (frame["event"].to_numpy(dtype=object) == InteractionKind.DISLIKE.value)[order]
    ends = _session_ends(users, micros // 1_000_000)
    first_event = np.searchsorted(users, users[ends], side="left")
    ends = ends[_thinned(users[ends], ends + 1 - first_event, max_cells)]
    columns: dict[str, pa.Array] = {
        "user_id": pa.array(map(str, user_ids), pa.string()).take(pa.array(users[ends]))
    }
    names = _texts(dataset.catalogue.item_ids)
    for name, chosen, limit in (
        ("disliked", is_dislike, HISTORY_LIMIT),
        ("skipped", ~is_dislike, SKIPS_LIMIT),
    ):
        before = np.concatenate(([0], np.cumsum(chosen)))
        first = np.searchsorted(users[chosen], users[ends], side="left")
        columns[name], columns[f"{name}_times"] = _lists(
            first, before[ends + 1], limit, names, items[chosen], micros[chosen]
        )
    columns[EVENT_TIMESTAMP] = times_of(micros[ends] // 1_000_000 + 1)
    return pa.table(columns)


def times_of(seconds: NDArray[np.int64]) -> pa.Array:
    """Seconds since 1970 as times, UTC."""
    return pa.array(seconds * 1_000_000, pa.int64()).cast(TIME)


def _session_ends(users: NDArray[np.int64], seconds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the last event of each session."""
    last_of_session = np.ones(len(users), dtype=np.bool_)
    last_of_session[:-1] = (users[1:] != users[:-1]) | (np.diff(seconds) > SESSION_GAP_SECONDS)
    return np.flatnonzero(last_of_session)


def _thinned(users: NDArray[np.int64], lengths: NDArray[np.int64], max_cells: int) -> NDArray[np.bool_]:
    """Which snapshots stay: as many of each user as the bound allows, evenly spaced, always the newest."""
    limit = MAX_SNAPSHOTS_PER_USER
    while True:
        kept = _evenly_spaced(users, limit)
        if limit == 1 or int(lengths[kept].sum()) <= max_cells:
            return kept
        limit //= 2


def _evenly_spaced(groups: NDArray[np.int64], limit: int) -> NDArray[np.bool_]:
    """Keep at most ``limit`` rows of each run of equal ``groups``, evenly spaced, always the last."""
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    sizes = np.diff(starts, append=len(groups))
    size = np.repeat(sizes, sizes)
    position = np.arange(len(groups)) - np.repeat(starts, sizes)
    kept: NDArray[np.bool_] = (size <= limit) | ((position + 1) * limit // size > position * limit // size)
    return kept


def _lists(
    first: NDArray[np.int64],
    end: NDArray[np.int64],
    limit: int,
    names: pa.Array,
    items: NDArray[np.int64],
    micros: NDArray[np.int64],
) -> tuple[pa.Array, pa.Array]:
    """The newest ``limit`` of ``[first, end)`` of each row, as lists of item ids and of times."""
    lengths = np.minimum(end - first, limit)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    cells = np.arange(offsets[-1]) + np.repeat(end - lengths - offsets[:-1], lengths)
    ids = names.take(pa.array(items[cells]))
    return (
        pa.LargeListArray.from_arrays(pa.array(offsets), ids),
        pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(micros[cells], pa.int64())),
    )


def _texts(item_ids: tuple[str, ...]) -> pa.Array:
    # 64-bit offsets: the text of many long histories passes two gigabytes sooner than their number does.
    return pa.array(item_ids, pa.large_string())
