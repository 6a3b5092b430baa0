"""Leave-last-out: each user's last interaction is the test, the second-last the validation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from streamrec.contracts.errors import InvalidInputError
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset
from streamrec.training.lasting_interest import lasting_interactions

HeldOut = Literal["test", "validation"]

MINIMUM_INTERACTIONS: Final = 3
"""A user with fewer interactions is trained on whole and not evaluated."""


@dataclass(frozen=True)
class UserHistories:
    """Every user's items in the order of time, as one ragged array.

    Attributes:
        user_ids: Length u, sorted.
        offsets: Shape (u + 1,), int64: user i owns ``items[offsets[i]:offsets[i + 1]]``.
        items: Shape (n,), int32: catalogue rows, oldest first within a user. Repeats are kept.
        timestamps: Shape (n,), int64: seconds since 1970, UTC.
    """

    user_ids: tuple[str, ...]
    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    timestamps: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.user_ids)

    def of(self, user: int) -> NDArray[np.int32]:
        """Items of one user, oldest first; a view."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Shape (u,): interactions of each user."""
        return np.diff(self.offsets)

    @cached_property
    def users(self) -> NDArray[np.int32]:
        """Shape (n,): row of the user of each interaction."""
        return np.repeat(np.arange(len(self), dtype=np.int32), self.lengths)

    def matrix(self, item_count: int) -> sparse.csr_matrix:
        """Binary user x item matrix, float32, shape (u, item_count)."""
        ones = np.ones(len(self.items), dtype=np.float32)
        # A copy: summing duplicates sorts the columns in place, which would undo the order of time here.
        matrix = sparse.csr_matrix((ones, self.items, self.offsets), shape=(len(self), item_count), copy=True)
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        return matrix


@dataclass(frozen=True)
class Split:
    """A dataset cut for training and evaluation.

    The weights of every model, baselines included, come from ``train`` alone. A model under validation sees
    the user's ``train`` items as history; under test it sees ``history``: train and validation.

    Attributes:
        catalogue: Every item.
        train: All users; all items but the held-out ones.
        history: All users; all items but the test one.
        evaluated: Shape (e,), int32: rows of the users that have held-out items.
        validation: Shape (e,), int32: held-out second-last item of each evaluated user.
        test: Shape (e,), int32: held-out last item of each evaluated user.
    """

    catalogue: Catalogue
    train: UserHistories
    history: UserHistories
    evaluated: NDArray[np.int32]
    validation: NDArray[np.int32]
    test: NDArray[np.int32]


def leave_last_out(dataset: Dataset) -> Split:
    """Cut ``dataset``. Ties in time keep the order of the interactions file.

    Users with fewer than `MINIMUM_INTERACTIONS` interactions are not evaluated.
    """
    everything = user_sequences(dataset)
    lengths = everything.lengths
    held_out = lengths >= MINIMUM_INTERACTIONS
    ends = everything.offsets[1:]
    evaluated = np.flatnonzero(held_out).astype(np.int32)
    return Split(
        catalogue=dataset.catalogue,
        train=_without_last(everything, np.where(held_out, 2, 0)),
        history=_without_last(everything, np.where(held_out, 1, 0)),
        evaluated=evaluated,
        validation=everything.items[ends[evaluated] - 2],
        test=everything.items[ends[evaluated] - 1],
    )


def evaluable(split: Split, on: HeldOut) -> NDArray[np.bool_]:
    """Shape (e,): whether each evaluated user's held-out item is new to the user.

    An item that is in the history is filtered from every answer, so nobody can find it again.

    Raises:
        InvalidInputError: It is nobody's; the message says for which of the two reasons.
    """
    histories, held_out = (split.history, split.test) if on == "test" else (split.train, split.validation)
    if split.evaluated.size == 0:
        raise InvalidInputError(
            "split",
            f"none of the {len(histories)} users has {MINIMUM_INTERACTIONS} positive interactions or more, "
            "which holding two out takes",
        )
    new = np.array(
        [item not in histories.of(user) for user, item in zip(split.evaluated, held_out, strict=True)],
        dtype=bool,
    )
    if not new.any():
        raise InvalidInputError(
            "split",
            f"each of the {split.evaluated.size} users with {MINIMUM_INTERACTIONS} positive interactions or "
            f"more had the item that is held out for {on} before: nothing new is left to be found. Repeated "
            "plays of the same items alone cannot be evaluated",
        )
    return new


def user_sequences(dataset: Dataset) -> UserHistories:
    """Every user's whole sequence of positive interactions that were not taken back, nothing held out."""
    interactions = lasting_interactions(dataset)
    user_ids, users = np.unique(interactions["user_id"].to_numpy(dtype=str), return_inverse=True)
    row_of = dataset.catalogue.row_of
    items = np.fromiter((row_of[item] for item in interactions["item_id"]), np.int32, len(interactions))
    seconds = (
        interactions["timestamp"].dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)
    )
    # The frame is sorted by time with the file's order in ties; a stable sort by user keeps both.
    order = np.argsort(users, kind="stable")
    counts = np.bincount(users, minlength=len(user_ids))
    return UserHistories(
        user_ids=tuple(str(user_id) for user_id in user_ids),
        offsets=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        items=items[order],
        timestamps=seconds[order],
    )


def _without_last(sequences: UserHistories, dropped: NDArray[np.int64]) -> UserHistories:
    position = np.arange(len(sequences.items)) - sequences.offsets[:-1][sequences.users]
    kept_lengths = sequences.lengths - dropped
    kept = position < kept_lengths[sequences.users]
    return UserHistories(
        user_ids=sequences.user_ids,
        offsets=np.concatenate(([0], np.cumsum(kept_lengths))).astype(np.int64),
        items=sequences.items[kept],
        timestamps=sequences.timestamps[kept],
    )
