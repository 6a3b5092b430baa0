"""Training: a logistic regression on what people judged."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from services.moderation.toxicity.model import ToxicityModel, n_gram_counts
from streamrec.training.labelled_rows import fingerprints_of, read_labelled_rows

COMMENTS_FILE: Final = "comments.parquet"
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
        DataFolderError: As in `read_labelled_rows`.
    """
    comments = read_labelled_rows(data / COMMENTS_FILE, ("text",), until)
    fit(comments).save(output)
    fingerprints_of(comments).write(output)


def fit(comments: pd.DataFrame) -> ToxicityModel:
    """Return the model of these comments, which are of both kinds."""
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(C=_PENALTY, max_iter=_ITERATIONS)
    regression.fit(n_gram_counts(comments["text"].tolist()), comments["label"].to_numpy(dtype=np.int64))
    return ToxicityModel(regression.coef_[0].astype(np.float32), float(regression.intercept_[0]))
