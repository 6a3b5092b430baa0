"""Features out of the platform's data folder: what was shown to whom before a moment, or on its day."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamrec.contracts.errors import DataFolderError

INTERACTIONS_FILE: Final = "interactions.parquet"
"""Of the data folder: one row for each advertisement that somebody was shown."""


def seen_before(data: Path, wanted: pd.DataFrame) -> pd.DataFrame:
    """How many advertisements each unit had seen that day before each moment; the moment's own is none.

    Nothing that came later counts: it is not known when an advertisement is about to be shown.

    Args:
        data: The data folder, in the neutral format.
        wanted: Columns unit and at (UTC).

    Returns:
        Column ``ads_seen_today``, in the order of ``wanted``; days are of UTC.

    Raises:
        DataFolderError: The folder holds no interactions.
    """
    shown = _shown(data)
    days = pd.DatetimeIndex(wanted["at"]).floor("D")
    begun = _counted(shown, wanted["unit"], days)
    until = _counted(shown, wanted["unit"], pd.DatetimeIndex(wanted["at"]))
    return pd.DataFrame({"ads_seen_today": (until - begun).astype(np.float64)})


def seen_that_day(data: Path, wanted: pd.DataFrame) -> pd.DataFrame:
    """How many advertisements each unit saw on the whole day of each moment: for reports about what was.

    It knows what came later, so no serving can have it: the skew gate refuses a version that was trained on
    it. Arguments, result and errors as in `seen_before`.
    """
    last = pd.DatetimeIndex(wanted["at"]).floor("D") + pd.Timedelta(days=1) - pd.Timedelta("1us")
    return seen_before(data, wanted.assign(at=last))


def _shown(data: Path) -> pd.DataFrame:
    path = data / INTERACTIONS_FILE
    if not path.is_file():
        raise DataFolderError(path, None, "the file does not exist")
    shown = pd.read_parquet(path, columns=["user_id", "timestamp"])
    return shown.sort_values("timestamp", kind="stable")


def _counted(shown: pd.DataFrame, units: pd.Series, moments: pd.DatetimeIndex) -> NDArray[np.int64]:
    """Of each unit, how many it was shown strictly before its moment."""
    asked = pd.DataFrame(
        {
            "user_id": units.to_numpy(dtype=object),
            "timestamp": moments.as_unit("us"),
            "place": np.arange(len(units)),
        }
    ).sort_values("timestamp", kind="stable")
    numbered = shown.assign(
        timestamp=shown["timestamp"].dt.as_unit("us"), shown=shown.groupby("user_id").cumcount() + 1
    )
    found = pd.merge_asof(asked, numbered, on="timestamp", by="user_id", allow_exact_matches=False)
    counts: NDArray[np.int64] = (
        found.sort_values("place")["shown"].fillna(0).to_numpy(dtype=np.float64).astype(np.int64)
    )
    return counts
