"""Training: a logistic regression on what people judged."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from services.moderation.toxicity.model import ToxicityModel, n_gram_counts
from streamrec.contracts.errors import DataFolderError
from streamrec.training.training_rows import TrainingRows, label_text

COMMENTS_FILE: Final = "comments.parquet"
_COLUMNS: Final = ("unit", "text", "label", "at")
_PENALTY: Final = 3.0
"""Inverse strength of the penalty on large weights."""
_ITERATIONS: Final = 300


def train(data: Path, until: datetime, output: Path) -> None:
    """Train on the comments that were judged before a time; write the artifact, with fingerprints of them.

    Args:
        data: Folder with `COMMENTS_FILE`: unit (its id), text, label (1 where it is hateful, else 0) and at
            (UTC) of each comment.
        until: Later comments do not count.
        output: Folder for the artifact.

    Raises:
        DataFolderError: The file is not there, lacks a column, or all that counts has one label.
    """
    path = data / COMMENTS_FILE
    if not path.is_file():
        raise DataFolderError(path, None, "the file does not exist")
    comments = pd.read_parquet(path)
    missing = sorted(set(_COLUMNS) - set(comments.columns))
    if missing:
        raise DataFolderError(path, missing[0], "the column is missing")
    counted = comments[comments["at"] < until]
    fit(counted, path).save(output)
    TrainingRows.of(
        counted["unit"].to_numpy(dtype=object),
        [label_text(label) for label in counted["label"]],
        counted["at"].dt.tz_localize(None).to_numpy(dtype="datetime64[s]").astype(np.int64),
    ).write(output)


def fit(comments: pd.DataFrame, path: Path) -> ToxicityModel:
    """Return the model of these comments; ``path`` is where they are from.

    Raises:
        DataFolderError: All of them have one label.
    """
    from sklearn.linear_model import LogisticRegression

    labels = comments["label"].to_numpy(dtype=np.int64)
    if len(np.unique(labels)) < 2:
        raise DataFolderError(path, "label", "comments of both kinds are needed")
    regression = LogisticRegression(C=_PENALTY, max_iter=_ITERATIONS)
    regression.fit(n_gram_counts(comments["text"].tolist()), labels)
    return ToxicityModel(regression.coef_[0].astype(np.float32), float(regression.intercept_[0]))
