"""Writes a run to a folder in the neutral format: observables only, no hidden taste is passed to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from services.recommendations.world.behaviour import EVENTS
from services.recommendations.world.catalogue import WorldCatalogue
from services.recommendations.world.labels import (
    AGE_BANDS,
    COUNTRIES,
    LANGUAGES,
    SIGNUP_CHANNELS,
    TOPICS,
)
from services.recommendations.world.simulation import Run
from services.recommendations.world.users import UserTable
from streamrec.contracts.errors import DataFolderError
from streamrec.datasets.dataset import INTERACTIONS_FILE, ITEMS_FILE, USERS_FILE
from streamrec.files.durable_files import make_folder, replace_with, write_atomically

SUMMARY_FILE: Final = "world.json"

_TIMESTAMP: Final = pa.timestamp("ms", tz="UTC")


def write_world(
    folder: Path, catalogue: WorldCatalogue, users: UserTable, run: Run, summary: Mapping[str, Any]
) -> None:
    """Write the three tables and ``world.json``.

    Each file appears whole or not at all. ``world.json`` goes first when a folder is overwritten and comes
    last, so a folder that has one is complete.

    Raises:
        DataFolderError: The folder cannot be written.
    """
    summary_path = folder / SUMMARY_FILE
    text = json.dumps(summary, indent=2, sort_keys=True, allow_nan=False) + "\n"
    try:
        make_folder(folder)
        summary_path.unlink(missing_ok=True)
        _write_table(folder / ITEMS_FILE, items_table(catalogue))
        _write_table(folder / USERS_FILE, users_table(users))
        _write_table(folder / INTERACTIONS_FILE, interactions_table(run, users, catalogue))
        write_atomically(summary_path, text.encode())
    except OSError as error:
        raise DataFolderError(
            folder, None, f"cannot be written ({error}); choose a folder with room and write access"
        ) from error


def items_table(catalogue: WorldCatalogue) -> pa.Table:
    """Columns item_id, title, creator_id, creator_language, topics, published_at."""
    present = catalogue.topics >= 0
    offsets = np.concatenate(([0], np.cumsum(present.sum(axis=1)))).astype(np.int32)
    topics = pa.ListArray.from_arrays(pa.array(offsets), _labels(catalogue.topics[present], TOPICS))
    creator_ids = [f"creator-{row:06d}" for row in range(len(catalogue.creator_languages))]
    return pa.table(
        {
            "item_id": pa.array(catalogue.item_ids, pa.string()),
            "title": pa.array(catalogue.titles, pa.string()),
            "creator_id": _labels(catalogue.creators, creator_ids),
            "creator_language": _labels(catalogue.languages, LANGUAGES),
            "topics": topics,
            "published_at": _times(catalogue.published_at),
        }
    )


def users_table(users: UserTable) -> pa.Table:
    """Columns user_id, country, language, age_band, signup_channel, signed_up_at."""
    return pa.table(
        {
            "user_id": pa.array(users.user_ids, pa.string()),
            "country": _labels(users.countries, [country for country, _, _ in COUNTRIES]),
            "language": _labels(users.languages, LANGUAGES),
            "age_band": _labels(users.age_bands, AGE_BANDS),
            "signup_channel": _labels(users.signup_channels, SIGNUP_CHANNELS),
            "signed_up_at": _times(users.signed_up_at),
        }
    )


def interactions_table(run: Run, users: UserTable, catalogue: WorldCatalogue) -> pa.Table:
    """Columns user_id, item_id, timestamp, event; sorted by time."""
    return pa.table(
        {
            "user_id": _labels(run.users, users.user_ids),
            "item_id": _labels(run.items, catalogue.item_ids),
            "timestamp": _times(run.seconds),
            "event": _labels(run.events, EVENTS),
        }
    )


def _labels(codes: NDArray[np.integer], labels: Sequence[str]) -> pa.Array:
    return pa.array(labels, pa.string()).take(pa.array(codes))


def _times(seconds: NDArray[np.int64]) -> pa.Array:
    return pa.array(seconds * 1_000, pa.int64()).cast(_TIMESTAMP)


def _write_table(path: Path, table: pa.Table) -> None:
    temporary = path.with_suffix(".tmp")
    pq.write_table(table, temporary, compression="zstd")
    replace_with(path, temporary)
