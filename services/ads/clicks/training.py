"""Training: a logistic regression on what was shown, and whether it was clicked."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from services.ads.clicks.model import FEATURES, ClickModel
from streamrec.contracts.errors import DataFolderError
from streamrec.training.training_rows import TrainingRows, label_text

SHOWN_FILE: Final = "shown.parquet"
_COLUMNS: Final = ("unit", "at", "label", *FEATURES)


def train(data: Path, until: datetime, output: Path) -> None:
    """Train on what was shown before a time; write the artifact, with fingerprints of the rows it saw.

    Args:
        data: Folder with `SHOWN_FILE`: unit, at (UTC), label (1 where it was clicked) and the features of
            each advertisement that was shown.
        until: What was shown later does not count.
        output: Folder for the artifact.

    Raises:
        DataFolderError: The file is not there, lacks a column, or all that counts has one label.
    """
    path = data / SHOWN_FILE
    if not path.is_file():
        raise DataFolderError(path, None, "the file does not exist")
    shown = pd.read_parquet(path)
    missing = sorted(set(_COLUMNS) - set(shown.columns))
    if missing:
        raise DataFolderError(path, missing[0], "the column is missing")
    counted = shown[shown["at"] < until]
    fit(counted, path).save(output)
    TrainingRows.of(
        counted["unit"].to_numpy(dtype=object),
        [label_text(label) for label in counted["label"]],
        counted["at"].dt.tz_localize(None).to_numpy(dtype="datetime64[s]").astype(np.int64),
    ).write(output)


def fit(shown: pd.DataFrame, path: Path) -> ClickModel:
    """Return the model of these rows; ``path`` is where they are from.

    Raises:
        DataFolderError: All of them have one label.
    """
    from sklearn.linear_model import LogisticRegression

    labels = shown["label"].to_numpy(dtype=np.int64)
    if len(np.unique(labels)) < 2:
        raise DataFolderError(path, "label", "advertisements that were clicked and others are needed")
    features = shown[list(FEATURES)].to_numpy(dtype=np.float64)
    means, scales = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-9)
    regression = LogisticRegression().fit((features - means) / scales, labels)
    return ClickModel(means, scales, regression.coef_[0], float(regression.intercept_[0]))
