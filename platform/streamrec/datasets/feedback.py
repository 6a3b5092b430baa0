"""What users did with our answers, as interactions: the way back from the event log to the features."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from streamrec.contracts.events import POSITIVE_INTERACTIONS, Outcome
from streamrec.datasets.dataset import Dataset, users_frame


def with_outcomes(dataset: Dataset, outcomes: Iterable[Outcome]) -> Dataset:
    """Return ``dataset`` with the positive outcomes added to its interactions, in the order of time.

    Outcomes of other kinds than `InteractionKind`'s say nothing of interest in an item. Outcomes with an item
    that the catalogue lacks are left out: the gateway quarantines them, and an item that has left the
    catalogue since has no features. Users that only the outcomes know get an unknown segment. The unit of
    an outcome is read as a user.
    """
    known = dataset.catalogue.row_of
    positive = [
        outcome for outcome in outcomes if outcome.kind in POSITIVE_INTERACTIONS and outcome.item_id in known
    ]
    if not positive:
        return dataset
    added = pd.DataFrame(
        {
            "user_id": [outcome.unit for outcome in positive],
            "item_id": [outcome.item_id for outcome in positive],
            "timestamp": pd.to_datetime([outcome.occurred_at for outcome in positive], utc=True).as_unit(
                "ns"
            ),
            "event": [str(outcome.kind) for outcome in positive],
        }
    )
    columns = [column for column in added if column in dataset.interactions]
    interactions = pd.concat([dataset.interactions, added[columns]], ignore_index=True)
    interactions = interactions.sort_values("timestamp", kind="stable", ignore_index=True)
    identities = "\n".join(sorted(outcome.event_id for outcome in positive))
    return replace(
        dataset,
        interactions=interactions,
        users=users_frame(dataset.users, interactions),
        additions=hashlib.sha256(f"{dataset.additions}\n{identities}".encode()).hexdigest(),
    )
