"""Cutting users' sequences into training windows, and windows into steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.recommendations.ranking.network import PADDING
from streamrec.training.splits import UserHistories


@dataclass(frozen=True)
class Windows:
    """Pieces of sequences: every item but a user's first is the target of exactly one window.

    Attributes:
        users: Shape (w,), int64: row of each window's user.
        starts: Shape (w,), int64: first item of each window, as a position in `UserHistories.items`.
        lengths: Shape (w,), int64: items of each window, 2 or more; the first is looked at, not predicted.
    """

    users: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


def draw_windows(sequences: UserHistories, history_length: int, rng: np.random.Generator) -> Windows:
    """Cut every sequence into windows of at most ``history_length + 1`` items that overlap by one.

    The cuts lie at random, so that over the epochs every item is predicted from long and short histories.
    """
    users: list[NDArray[np.int64]] = []
    starts: list[NDArray[np.int64]] = []
    lengths: list[NDArray[np.int64]] = []
    for user in np.flatnonzero(sequences.lengths >= 2):
        first, last = int(sequences.offsets[user]), int(sequences.offsets[user + 1]) - 1
        # A short sequence stays whole: cutting it would take away the little history that it has.
        phase = int(rng.integers(history_length)) if last - first > history_length else 0
        cuts = np.arange(first - phase, last, history_length, dtype=np.int64)
        begins = np.maximum(cuts, first)
        ends = np.minimum(cuts + history_length, last)
        kept = ends > begins
        users.append(np.full(int(kept.sum()), user, dtype=np.int64))
        starts.append(begins[kept])
        lengths.append((ends - begins + 1)[kept])
    if not starts:
        nothing = np.empty(0, dtype=np.int64)
        return Windows(nothing, nothing, nothing)
    return Windows(np.concatenate(users), np.concatenate(starts), np.concatenate(lengths))


def steps(
    sequences: UserHistories, windows: Windows, batch_interactions: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Group windows of like length into steps of about ``batch_interactions`` targets, in random order.

    Yields:
        Which windows, shape (b,); inputs and targets, both of shape (b, length), item rows with `PADDING` on
        the right.
    """
    if windows.starts.size == 0:
        return
    order = rng.permutation(windows.starts.size)
    order = order[np.argsort(windows.lengths[order], kind="stable")]
    before = np.cumsum(windows.lengths[order] - 1) - (windows.lengths[order] - 1)
    groups = np.split(order, np.flatnonzero(np.diff(before // batch_interactions)) + 1)
    for place in rng.permutation(len(groups)):
        group = groups[place]
        yield group, *padded(sequences.items, windows.starts[group], windows.lengths[group])


def padded(
    items: NDArray[np.int32], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Inputs (all but the last item) and targets (all but the first) of some windows."""
    steps_ahead = np.arange(int(lengths.max()) - 1)
    inside = steps_ahead[None, :] < lengths[:, None] - 1
    positions = np.where(inside, starts[:, None] + steps_ahead[None, :], 0)
    inputs = np.where(inside, items[positions], PADDING).astype(np.int64)
    targets = np.where(inside, items[positions + inside], PADDING).astype(np.int64)
    return inputs, targets


def newest(sequences: UserHistories, users: NDArray[np.int32], history_length: int) -> NDArray[np.int64]:
    """Shape (users, length): the newest items of some users, newest first, `PADDING` where there are no more.

    ``length`` is that of the longest, 1 to ``history_length``.
    """
    histories = [sequences.of(int(user))[-history_length:][::-1] for user in users]
    items = np.full((len(histories), max([1, *map(len, histories)])), PADDING, dtype=np.int64)
    for row, history in enumerate(histories):
        items[row, : len(history)] = history
    return items


def draw_examples(
    sequences: UserHistories, history_length: int, batch_interactions: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Every interaction once, in random batches, a user's first included: its history is empty.

    Within a batch they are sorted by the length of their history.

    Yields:
        Places of the interactions in `UserHistories.items`, shape (b,); the items before each, shape
        (b, history_length), newest first with `PADDING` where there are no more; the items themselves, shape
        (b,).
    """
    starts = sequences.offsets[:-1][sequences.users]
    order = rng.permutation(sequences.items.size)
    for begin in range(0, order.size, batch_interactions):
        chosen = order[begin : begin + batch_interactions]
        chosen = chosen[np.argsort(chosen - starts[chosen], kind="stable")]
        positions = chosen[:, None] - 1 - np.arange(history_length)
        before = sequences.items[np.maximum(positions, 0)]
        history = np.where(positions >= starts[chosen, None], before, PADDING).astype(np.int64)
        yield chosen, history, sequences.items[chosen].astype(np.int64)
