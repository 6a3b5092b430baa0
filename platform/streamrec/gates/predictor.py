"""What a spoke writes so that its models can be judged: a function that loads a version."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import pandas as pd

SCORE_COLUMN: Final = "score"
ITEM_IDS_COLUMN: Final = "item_ids"
SCORES_COLUMN: Final = "scores"

HIDDEN_COLUMNS: Final = ("label", "relevant", "split")
"""Of a request table: a predictor does not see them, nor any column that begins with `GROUP_PREFIX`."""

GROUP_PREFIX: Final = "group."


class Predictor(Protocol):
    """A loaded version."""

    def predict(self, requests: pd.DataFrame) -> pd.DataFrame:
        """Answer requests.

        Args:
            requests: Columns request_id, unit, at (UTC), and whatever else the request table holds, without
                `HIDDEN_COLUMNS` and the groups. At least one row.

        Returns:
            One row for each request, in their order: `SCORE_COLUMN` (float), or `ITEM_IDS_COLUMN` (list of
            str, best first, each once) and `SCORES_COLUMN` (list of float, as long, falling).
        """
        ...


class LoadPredictor(Protocol):
    """The function that a specification names as ``predictor``. Called in an isolated process."""

    def __call__(self, artifact: Path, needs: Mapping[str, Path]) -> Predictor:
        """Load a version.

        Args:
            artifact: The folder of its files; read-only.
            needs: Folders by role: the artifacts of the versions that it depends on, and ``data``, the data
                folder, where one was given.
        """
        ...
