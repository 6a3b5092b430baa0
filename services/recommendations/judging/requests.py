"""The evaluation requests of each stage, out of a data folder: each user's last item, and what came before.

`streamrec.training.splits` holds the last item of every user out of all training; it is what is right here.
Nothing of a model takes part, so that any two versions answer the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import UserState
from services.recommendations.judging.state_columns import state_table
from services.recommendations.training.histories import user_states
from streamrec.contracts.conventions import UNKNOWN
from streamrec.contracts.errors import InvalidInputError
from streamrec.datasets.dataset import Dataset, load_dataset
from streamrec.training.splits import Split, evaluable, leave_last_out, user_sequences

MAXIMUM_USERS: Final = 2_000
"""So many tell two versions apart, and are answered within seconds."""

SHORT_HISTORIES: Final = 5
"""A history is cut to 0, 1, ... interactions, fewer than this: whom cold start is for."""

GROUPS: Final = ("age_band", "country", "language")
"""Attributes of users that groups are made of."""


def known_users(data: Path) -> pd.DataFrame:
    """Requests of `retrieval` and `ranking`: users with all that they did before.

    Args:
        data: A data folder in the neutral format.

    Raises:
        DataFolderError: It cannot be used.
        InvalidInputError: No user has enough interactions to hold one out.
    """
    return _requests(*_held_out(load_dataset(data)))


def new_users(data: Path) -> pd.DataFrame:
    """Requests of `cold_start`: histories cut to their last 0 to 4 interactions, in turn.

    What was cut off counts as shown before: it is in no answer, as nobody could take it up again.
    """
    states, items, times = _held_out(load_dataset(data))
    short = [_shortened(state, number % SHORT_HISTORIES) for number, state in enumerate(states)]
    return _requests(short, items, times)


def slates(data: Path) -> pd.DataFrame:
    """Requests of `reranking`: every third user new, as `new_users` has them, the others known."""
    states, items, times = _held_out(load_dataset(data))
    mixed = [
        _shortened(state, number // 3 % SHORT_HISTORIES) if number % 3 == 2 else state
        for number, state in enumerate(states)
    ]
    return _requests(mixed, items, times)


def _held_out(dataset: Dataset) -> tuple[list[UserState], list[str], NDArray[np.int64]]:
    """States before the held-out item, that item, and its time in seconds; evenly spread over the users."""
    split: Split = leave_last_out(dataset)
    found = np.flatnonzero(evaluable(split, "test"))
    chosen = found[np.unique(np.linspace(0, len(found) - 1, min(MAXIMUM_USERS, len(found))).astype(np.int64))]
    rows = split.evaluated[chosen]
    everything = user_sequences(dataset)
    times = everything.timestamps[everything.offsets[rows + 1] - 1]
    item_ids = split.catalogue.item_ids
    states = [_bounded(state) for state in user_states(dataset, split.history, rows)]
    return states, [item_ids[item] for item in split.test[chosen].tolist()], times


_NEWEST: Final = 200
"""Items of a history that a request keeps: what the models look at."""


def _bounded(state: UserState) -> UserState:
    """Older items are left out of the request as they are of any answer."""
    if len(state.history) <= _NEWEST:
        return state
    older = tuple(dict.fromkeys(state.history[:-_NEWEST]))
    return replace(state, history=state.history[-_NEWEST:], shown=older)


def _shortened(state: UserState, length: int) -> UserState:
    kept = state.history[len(state.history) - min(length, len(state.history)) :]
    hidden = tuple(item for item in dict.fromkeys(state.history + state.shown) if item not in set(kept))
    return UserState(state.user_id, state.segment, kept, shown=hidden)


def _requests(states: Sequence[UserState], items: Sequence[str], times: NDArray[np.int64]) -> pd.DataFrame:
    if not states:
        raise InvalidInputError("evaluation.requests", "the data folder has no user to ask for")
    columns: dict[str, Any] = {
        "request_id": [f"last-{state.user_id}" for state in states],
        "unit": [state.user_id for state in states],
        "at": pd.to_datetime(times, unit="s", utc=True).as_unit("us"),
        "split": "validation",
        "relevant": [[item] for item in items],
    }
    for name in GROUPS:
        values = [getattr(state.segment, name) for state in states]
        columns[f"group.{name}"] = [None if value == UNKNOWN else value for value in values]
    return pd.concat([pd.DataFrame(columns), state_table(states)], axis=1)
