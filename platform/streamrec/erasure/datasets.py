"""A person in a data set that comes from outside the workspace: left out of what is made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

from streamrec.datasets.dataset import Dataset


def without_erased(dataset: Dataset, is_erased: Callable[[str], bool]) -> Dataset:
    """Return the data set without the users who were erased; the same one where there is none among them.

    Raises:
        ArtifactError, DependencyError: Nobody can tell who was erased; see `ErasedPersons.is_erased`.
    """
    gone = [user_id for user_id in dataset.users["user_id"] if is_erased(user_id)]
    if not gone:
        return dataset
    identities = "\n".join(sorted(gone))
    interactions = dataset.interactions[~dataset.interactions["user_id"].isin(gone)]
    users = dataset.users[~dataset.users["user_id"].isin(gone)]
    return replace(
        dataset,
        interactions=interactions.reset_index(drop=True),
        users=users.reset_index(drop=True),
        additions=hashlib.sha256(f"{dataset.additions}\nwithout\n{identities}".encode()).hexdigest(),
    )
