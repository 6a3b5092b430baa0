"""What users did with our answers, as interactions: the way back from the event log to the features."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import pandas as pd

from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.datasets.dataset import Dataset, users_frame

_NEGATIVE: Final = tuple(kind.value for kind in InteractionKind if not kind.positive)
_KINDS: Final = frozenset(kind.value for kind in InteractionKind)


def with_outcomes(dataset: Dataset, outcomes: Iterable[Outcome]) -> Dataset:
    """Return ``dataset`` with what users did with items added to its interactions, in the order of time.

    Dislikes and skips come along: `Dataset.positive_interactions` leaves them out and
    `Dataset.negative_interactions` holds them. Outcomes of other kinds than `InteractionKind`'s say nothing
    of interest in an item. Outcomes with an item that the catalogue lacks are left out: the gateway
    quarantines them, and an item that has left the catalogue since has no features. Interest of one user in
    one item at one time is one interaction, as it is online (`streamrec.features.user_actions`). Users that
    only the outcomes know get an unknown segment (`streamrec.datasets.logged_segments` knows more). The unit
    of an outcome is read as a user.
    """
    known = dataset.catalogue.row_of
    acted = [outcome for outcome in outcomes if outcome.kind in _KINDS and outcome.item_id in known]
    if not acted:
        return dataset
    added = pd.DataFrame(
        {
            "user_id": [outcome.unit for outcome in acted],
            "item_id": [outcome.item_id for outcome in acted],
            "timestamp": pd.to_datetime([outcome.occurred_at for outcome in acted], utc=True).as_unit("ns"),
            "event": [str(outcome.kind) for outcome in acted],
        }
    )
    imported = dataset.interactions
    if "event" not in imported:
        # Without the column everything counts as interest; with it, what names no event does.
        imported = imported.assign(event=pd.Series(None, index=imported.index, dtype=object))
    added = added.sort_values(["timestamp", "item_id"], kind="stable")
    interactions = pd.concat([imported, added], ignore_index=True)
    interactions = interactions[~_repeated(interactions, len(imported))]
    interactions = interactions.sort_values("timestamp", kind="stable", ignore_index=True)
    identities = "\n".join(sorted(f"{outcome.unit}\0{outcome.event_id}" for outcome in acted))
    return replace(
        dataset,
        interactions=interactions,
        users=users_frame(dataset.users, interactions),
        additions=hashlib.sha256(f"{dataset.additions}\n{identities}".encode()).hexdigest(),
    )


def _repeated(interactions: pd.DataFrame, imported: int) -> pd.Series:
    """Which rows after the first ``imported`` say again what a row before them says."""
    repeated = pd.Series(data=False, index=interactions.index)
    theirs = interactions[interactions["user_id"].isin(interactions["user_id"].iloc[imported:])]
    kind = theirs["event"].where(theirs["event"].isin(_NEGATIVE), "positive")
    keys = theirs[["user_id", "item_id", "timestamp"]].assign(kind=kind)
    repeated.loc[theirs.index] = keys.duplicated() & (theirs.index >= imported)
    return repeated
