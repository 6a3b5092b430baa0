"""What the stages know of users at given times, computed from a data folder alone, as training does.

Serving reads the same from the online store, which a materialisation fills and every event since changes. The
skew gate compares the two.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pandas as pd

from services.recommendations.contracts.candidates import Segment
from services.recommendations.contracts.known_user import known_user
from services.recommendations.judging.state_columns import UNIT, state_table
from services.recommendations.training.histories import segments_by_user
from streamrec.contracts.events import InteractionKind
from streamrec.datasets.dataset import Dataset, load_dataset
from streamrec.features.user_actions import UserAction, UserActivity

_PLAIN = InteractionKind.PLAY
"""What an interaction counts as where the source does not say what it was: interest."""


def states(data: Path, entities: pd.DataFrame) -> pd.DataFrame:
    """The features of each row of ``entities``: what was known of the unit before the time.

    Args:
        data: A data folder in the neutral format, with what the event log holds where that is served.
        entities: Columns unit and at (UTC).

    Returns:
        The columns of `state_columns.STATE_COLUMNS`, in the order of ``entities``.

    Raises:
        DataFolderError: The folder cannot be used.
    """
    return states_of_dataset(load_dataset(data), entities)


def states_of_dataset(dataset: Dataset, entities: pd.DataFrame) -> pd.DataFrame:
    """As `states`, of data in memory."""
    units = [str(unit) for unit in entities[UNIT]]
    moments = pd.DatetimeIndex(pd.to_datetime(entities["at"], utc=True)).to_pydatetime()
    actions = _actions(dataset, frozenset(units))
    segments = segments_by_user(dataset)
    rows = []
    for unit, at in zip(units, moments, strict=True):
        before = [action for action in actions[unit] if action.occurred_at < at]
        activity = UserActivity.in_order(before)
        rows.append(known_user(unit, segments.get(unit, Segment()), activity, at))
    return state_table(rows)


def _actions(dataset: Dataset, units: frozenset[str]) -> dict[str, list[UserAction]]:
    interactions = dataset.interactions
    chosen = interactions[interactions["user_id"].isin(units)]
    kinds = chosen["event"].tolist() if "event" in chosen else [None] * len(chosen)
    found: dict[str, list[UserAction]] = defaultdict(list)
    times = pd.DatetimeIndex(chosen["timestamp"]).to_pydatetime()
    for unit, item_id, at, kind in zip(chosen["user_id"], chosen["item_id"], times, kinds, strict=True):
        meant = InteractionKind(kind) if isinstance(kind, str) else _PLAIN
        found[str(unit)].append(UserAction(str(item_id), meant, at))
    return found
