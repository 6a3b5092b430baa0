"""What a version was trained on, as fingerprints in its artifact: so that nobody has to be believed about it.

Training writes `TRAINING_ROWS_FILE` beside the weights. Whoever judges the version later looks there for the
rows that it is judged on. A row is who (the unit), what (an item, or the label) and when (to the second); a
fingerprint is 64 bits of it, and tells nobody who it was that does not know already.

Of large data a sample is kept, chosen by the fingerprints themselves (consistent sampling: Broder 1997): the
same rows are chosen on both sides, so that a share of the rows is looked for with certainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamrec.contracts.errors import ArtifactError, InvalidInputError

TRAINING_ROWS_FILE: Final = "training_rows.npz"
MAXIMUM_KEPT: Final = 1_000_000
"""Fingerprints in a file: eight megabytes."""

_FORMAT: Final = 1


@dataclass(frozen=True, eq=False, slots=True)
class TrainingRows:
    """Fingerprints of what a version was trained on.

    Attributes:
        rows: Sorted, each once: of all rows, those that ``row_step`` divides.
        row_step: 1 where all are kept.
        units: Sorted, each once: of all units, those that ``unit_step`` divides.
        unit_step: As ``row_step``.
        last_s: Shape of ``units``: each one's newest row, in seconds since 1970.
        latest_s: The newest row of all.
        count: Rows that it was trained on.
    """

    rows: NDArray[np.uint64]
    row_step: int
    units: NDArray[np.uint64]
    unit_step: int
    last_s: NDArray[np.int64]
    latest_s: int
    count: int

    @classmethod
    def of(
        cls,
        units: Sequence[str] | NDArray[Any],
        what: Sequence[str] | NDArray[Any],
        seconds: NDArray[np.int64],
        *,
        maximum_kept: int = MAXIMUM_KEPT,
    ) -> TrainingRows:
        """Fingerprint rows.

        Args:
            units: Who, shape (n,), at least one.
            what: The item, or the label as `label_text` writes it; shape (n,).
            seconds: When, whole seconds since 1970, shape (n,).
            maximum_kept: With more rows, or units, a sample is kept.

        Raises:
            InvalidInputError: There is no row.
        """
        if len(units) == 0:
            raise InvalidInputError("training_rows", "must hold one row at least")
        rows, row_step = _sampled(np.unique(row_fingerprints(units, what, seconds)), maximum_kept)
        named = text_fingerprints(units)
        order = np.lexsort((seconds, named))
        last = np.flatnonzero(np.append(np.diff(named[order]) != 0, True))
        all_units, all_last = named[order][last], np.asarray(seconds, dtype=np.int64)[order][last]
        kept, unit_step = _sampled(all_units, maximum_kept)
        return cls(
            rows=rows,
            row_step=row_step,
            units=kept,
            unit_step=unit_step,
            last_s=all_last[all_units % np.uint64(unit_step) == 0],
            latest_s=int(np.max(seconds)),
            count=len(units),
        )

    def looked_for(self, fingerprints: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which rows could be found here at all: all of them, or the sample."""
        chosen: NDArray[np.bool_] = fingerprints % np.uint64(self.row_step) == 0
        return chosen

    def found(self, fingerprints: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which rows it was trained on."""
        return np.isin(fingerprints, self.rows)

    def newest_of(self, units: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Newest row of each unit, in seconds; the least int64 for a unit that is not here."""
        if len(self.units) == 0:
            return np.full(len(units), np.iinfo(np.int64).min)
        places = np.minimum(np.searchsorted(self.units, units), len(self.units) - 1)
        return np.where(self.units[places] == units, self.last_s[places], np.iinfo(np.int64).min)

    def write(self, folder: Path) -> None:
        """Write the file into an artifact's folder."""
        np.savez(
            folder / TRAINING_ROWS_FILE,
            format=np.array([_FORMAT]),
            rows=self.rows,
            units=self.units,
            last_s=self.last_s,
            numbers=np.array([self.row_step, self.unit_step, self.latest_s, self.count], dtype=np.int64),
        )

    @classmethod
    def read(cls, folder: Path) -> TrainingRows | None:
        """Read the file of an artifact; None where it has none.

        Raises:
            ArtifactError: The file is damaged.
        """
        path = folder / TRAINING_ROWS_FILE
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                if file["format"].tolist() != [_FORMAT]:
                    raise ValueError(f"its format is {file['format'].tolist()}")
                row_step, unit_step, latest_s, count = (int(number) for number in file["numbers"].tolist())
                read = cls(
                    _plain(file["rows"], np.uint64),
                    row_step,
                    _plain(file["units"], np.uint64),
                    unit_step,
                    _plain(file["last_s"], np.int64),
                    latest_s,
                    count,
                )
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise ArtifactError(f"{path}: damaged, train the version again ({error})") from error
        if len(read.units) != len(read.last_s) or min(row_step, unit_step) < 1 or count < 1:
            raise ArtifactError(f"{path}: damaged, train the version again (its parts do not fit together)")
        return read


def text_fingerprints(texts: Sequence[str] | NDArray[Any]) -> NDArray[np.uint64]:
    """64 bits of each text, the same in every process and release."""
    hashed = pd.util.hash_array(np.asarray(texts, dtype=object), categorize=True)
    return hashed.astype(np.uint64)


def row_fingerprints(
    units: Sequence[str] | NDArray[Any], what: Sequence[str] | NDArray[Any], seconds: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """64 bits of each row, shape (n,): who, what and when."""
    columns = {
        "unit": text_fingerprints(units),
        "what": text_fingerprints(what),
        "at": np.asarray(seconds, dtype=np.int64),
    }
    hashed = pd.util.hash_pandas_object(pd.DataFrame(columns), index=False)
    return hashed.to_numpy().astype(np.uint64)


def label_text(label: float) -> str:
    """A label as the rows of training name it."""
    return f"label {label:.17g}"


def _sampled(fingerprints: NDArray[np.uint64], maximum_kept: int) -> tuple[NDArray[np.uint64], int]:
    step = 1
    kept: NDArray[Any] = fingerprints
    while len(kept) > maximum_kept:
        step *= 2
        kept = fingerprints[fingerprints % np.uint64(step) == 0]
    return kept, step


def _plain(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    if array.dtype != dtype or array.ndim != 1:
        raise ValueError(f"an array is {array.dtype} of {array.ndim} dimensions")
    return array
