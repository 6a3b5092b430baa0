"""The catalogue as of the item log: what an import brought, and what was put and removed since."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from streamrec.contracts.items import Item
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset
from streamrec.items.state import ItemState


def catalogue_of(items: Iterable[Item]) -> Catalogue:
    """The items, which must differ, as a catalogue."""
    ordered = sorted(items, key=lambda item: item.item_id)
    return Catalogue(
        item_ids=tuple(item.item_id for item in ordered),
        titles=tuple(item.title for item in ordered),
        creator_ids=tuple(item.creator_id for item in ordered),
        creator_languages=tuple(item.creator_language for item in ordered),
        topics=tuple(item.topics for item in ordered),
        published_at=np.array([_second(item.published_at) for item in ordered], dtype="datetime64[s]"),
    )


def with_item_changes(catalogue: Catalogue, state: ItemState) -> Catalogue:
    """Return the catalogue with what the log says: what was put replaces what an import says of an item."""
    if not state.changes:
        return catalogue
    kept = [row for row, item_id in enumerate(catalogue.item_ids) if item_id not in state.changes]
    added = catalogue_of(state.items.values())
    item_ids = [*(catalogue.item_ids[row] for row in kept), *added.item_ids]
    order = sorted(range(len(item_ids)), key=item_ids.__getitem__)

    def column(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
        values = [*(old[row] for row in kept), *new]
        return tuple(values[position] for position in order)

    topics = [*(catalogue.topics[row] for row in kept), *added.topics]
    published_at = np.concatenate([catalogue.published_at[kept], added.published_at])
    return Catalogue(
        item_ids=tuple(item_ids[position] for position in order),
        titles=column(catalogue.titles, added.titles),
        creator_ids=column(catalogue.creator_ids, added.creator_ids),
        creator_languages=column(catalogue.creator_languages, added.creator_languages),
        topics=tuple(topics[position] for position in order),
        published_at=published_at[order],
    )


def with_item_log(dataset: Dataset, state: ItemState) -> Dataset:
    """Return ``dataset`` over the catalogue as of the log.

    Interactions with removed items stay out: there is nothing to train on them. The fingerprint covers the
    log's entries that count.
    """
    if not state.changes:
        return dataset
    catalogue = with_item_changes(dataset.catalogue, state)
    known = dataset.interactions["item_id"].isin(catalogue.row_of.keys())
    digest = hashlib.sha256(f"{dataset.additions}\nitems {state.log_id} {state.revision}".encode())
    return replace(
        dataset,
        catalogue=catalogue,
        interactions=dataset.interactions[known].reset_index(drop=True),
        additions=digest.hexdigest(),
    )


def _second(moment: datetime | None) -> np.datetime64:
    if moment is None:
        return np.datetime64("NaT", "s")
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "s")
