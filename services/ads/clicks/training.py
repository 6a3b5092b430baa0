"""Training: a logistic regression on what was shown, and whether it was clicked."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from services.ads.clicks.model import FEATURES, ClickModel
from streamrec.training.labelled_rows import fingerprints_of, read_labelled_rows

SHOWN_FILE: Final = "shown.parquet"


def train(data: Path, until: datetime, output: Path) -> None:
    """Train on what was shown before a time; write the artifact, with fingerprints of the rows it saw.

    Args:
        data: Folder with `SHOWN_FILE`: unit, at (UTC), label (1 where it was clicked) and the features of
            each advertisement that was shown.
        until: What was shown later does not count.
        output: Folder for the artifact.

    Raises:
        DataFolderError: As in `read_labelled_rows`.
    """
    shown = read_labelled_rows(data / SHOWN_FILE, FEATURES, until)
    fit(shown).save(output)
    fingerprints_of(shown).write(output)


def fit(shown: pd.DataFrame) -> ClickModel:
    """Return the model of these rows, of which some were clicked."""
    from sklearn.linear_model import LogisticRegression

    features = shown[list(FEATURES)].to_numpy(dtype=np.float64)
    means, scales = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-9)
    regression = LogisticRegression().fit(
        (features - means) / scales, shown["label"].to_numpy(dtype=np.int64)
    )
    return ClickModel(means, scales, regression.coef_[0], float(regression.intercept_[0]))
