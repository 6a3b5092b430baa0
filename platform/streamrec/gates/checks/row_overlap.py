"""Which rows of one table are in another one: by their identity, and by what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from streamrec.gates.request_table import feature_columns
from streamrec.training.training_rows import label_text, row_fingerprints

_MICROSECONDS: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Repetition:
    """How often rows that are judged on say the same as rows that were trained on, whoever they are of.

    A fresh row meets an equal one among n others as often as a row of training meets one among the others of
    training: that is what is expected by chance, and what more than that is compared with.

    Attributes:
        rows: Rows of validation.
        repeated: Those whose content stands in training too.
        expected: Share of the rows of training whose content stands in training more than once.
        low: Lower bound of the share of repeated rows (Clopper and Pearson 1934), 99.9 % one-sided.
        expected_high: Upper bound of the expected one, 99.9 % one-sided.
    """

    rows: int
    repeated: int
    expected: float
    low: float
    expected_high: float

    @property
    def share(self) -> float:
        """Of validation, repeated."""
        return self.repeated / self.rows


def event_rows(frame: pd.DataFrame, *, listed: bool) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Fingerprints of who, what and when, and the row that each belongs to: one for each item that is right.

    Args:
        frame: Rows of a `RequestTable`.
        listed: Whether what is right is a list of items; else it is a label.
    """
    seconds = seconds_of(frame)
    if listed:
        lengths = frame["relevant"].map(len).to_numpy(dtype=np.int64)
        of_row = np.repeat(np.arange(len(frame)), lengths)
        what = [item for items in frame["relevant"] for item in items]
    else:
        of_row = np.arange(len(frame))
        what = [label_text(label) for label in frame["label"].tolist()]
    if len(of_row) == 0:
        return np.array([], dtype=np.uint64), of_row
    units = frame["unit"].to_numpy(dtype=object)[of_row]
    return row_fingerprints(units, what, seconds[of_row]), of_row


def seconds_of(frame: pd.DataFrame) -> NDArray[np.int64]:
    """When each row is, in whole seconds since 1970."""
    times = frame["at"].dt.tz_localize(None).to_numpy(dtype="datetime64[s]")
    seconds: NDArray[np.int64] = times.astype(np.int64)
    return seconds


def repetition(training: pd.DataFrame, validation: pd.DataFrame) -> Repetition | None:
    """Compare what rows say: their truth and features, without unit and time.

    None where the two have no feature in common: then rows say too little to be told apart.
    """
    shared = [name for name in feature_columns(validation) if name in training.columns]
    if not shared or len(training) < 2 or len(validation) == 0:
        return None
    truth = "relevant" if "relevant" in validation.columns else "label"
    known = _contents(training, [truth, *shared])
    asked = _contents(validation, [truth, *shared])
    values, counts = np.unique(known, return_counts=True)
    repeated = int(np.isin(asked, values).sum())
    among_themselves = int(counts[counts > 1].sum())
    return Repetition(
        rows=len(asked),
        repeated=repeated,
        expected=among_themselves / len(known),
        low=_bound(repeated, len(asked), "greater"),
        expected_high=_bound(among_themselves, len(known), "less"),
    )


def _contents(frame: pd.DataFrame, names: Sequence[str]) -> NDArray[np.uint64]:
    plain = pd.DataFrame({name: _plain(frame[name]) for name in names})
    return pd.util.hash_pandas_object(plain, index=False).to_numpy().astype(np.uint64)


def _plain(column: pd.Series[Any]) -> Any:
    """Numbers as doubles, all else as text: the same whether it came out of CSV or Parquet."""
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return column.astype(np.float64)
    return column.map(lambda value: "|".join(map(str, value)) if np.ndim(value) else str(value))


def _bound(count: int, of: int, alternative: str) -> float:
    interval = binomtest(count, of, alternative=alternative).proportion_ci(0.999, method="exact")
    return float(interval.low if alternative == "greater" else interval.high)
