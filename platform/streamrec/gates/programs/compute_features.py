"""Lets a spoke compute features as its training does, and writes them as Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from streamrec.gates.programs.loading import DATA, named_function

FEATURES_FILE: Final = "features.parquet"
WANTED: Final = "wanted"


def compute_features(
    arguments: Mapping[str, Any], inputs: Mapping[str, Path], output: Path
) -> dict[str, Any]:
    """Compute one row for each unit and time.

    Args:
        arguments: ``function``: ``module:function``, given the data folder and a table with unit and at.
        inputs: ``data``, and ``wanted``: the table.
        output: Gets `FEATURES_FILE`.
    """
    features = named_function(arguments["function"])(inputs[DATA], pd.read_parquet(inputs[WANTED]))
    features.to_parquet(output / FEATURES_FILE, index=False)
    return {"rows": len(features)}
