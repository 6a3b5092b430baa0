from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from services.moderation.toxicity.model import FEATURE_COUNT, WEIGHTS_FILE, ToxicityModel
from services.moderation.toxicity.predictor import load
from services.moderation.toxicity.training import COMMENTS_FILE, train
from streamrec.contracts.errors import ArtifactError, DataFolderError

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
KIND, HATEFUL = "what a lovely day", "they are all vermin"


def write_comments(folder, texts, labels, at=NOON):
    units = [f"comment-{number}" for number in range(len(texts))]
    comments = pd.DataFrame({"unit": units, "text": texts, "label": labels, "at": pd.Timestamp(at)})
    comments.to_parquet(folder / COMMENTS_FILE)


def test_what_was_judged_hateful_scores_higher(tmp_path):
    write_comments(tmp_path, [KIND, HATEFUL, "a day", "all vermin"], [0, 1, 0, 1])
    train(tmp_path, datetime(2024, 6, 1, tzinfo=UTC), tmp_path / "artifact")
    predictor = load(tmp_path / "artifact", {})
    scores = predictor.predict(pd.DataFrame({"text": [KIND, HATEFUL, "vermin " * 5_000]}))["score"]
    assert scores[0] < 0.5 < scores[1]
    assert scores[2] > 0.5


def test_what_comes_later_does_not_count(tmp_path):
    write_comments(tmp_path, [KIND, HATEFUL], [0, 1])
    with pytest.raises(DataFolderError, match="both kinds"):
        train(tmp_path, NOON, tmp_path / "artifact")


@pytest.mark.parametrize("column", ["unit", "text", "label", "at"])
def test_a_missing_column_is_named(tmp_path, column):
    comments = pd.DataFrame({"unit": ["c"], "text": [KIND], "label": [0], "at": pd.Timestamp(NOON)})
    comments.drop(columns=column).to_parquet(tmp_path / COMMENTS_FILE)
    with pytest.raises(DataFolderError, match=f"'{column}'"):
        train(tmp_path, NOON, tmp_path / "artifact")


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"weights": np.zeros(FEATURE_COUNT, np.float32)}, "bias"),
        ({"weights": np.zeros(3, np.float32), "bias": 0.0}, "shape"),
        ({"weights": np.zeros(FEATURE_COUNT), "bias": 0.0}, "float64"),
        ({"weights": np.full(FEATURE_COUNT, np.nan, np.float32), "bias": 0.0}, "no number"),
        ({"weights": np.zeros(FEATURE_COUNT, np.float32), "bias": np.inf}, "no number"),
        ({"weights": np.array([{}], dtype=object), "bias": 0.0}, "allow_pickle"),
    ],
)
def test_an_artifact_that_is_no_model_is_refused(tmp_path, arrays, problem):
    np.savez(tmp_path / WEIGHTS_FILE, allow_pickle=True, **arrays)
    with pytest.raises(ArtifactError, match=problem):
        ToxicityModel.load(tmp_path)


def test_no_file_is_no_model(tmp_path):
    with pytest.raises(ArtifactError, match=WEIGHTS_FILE):
        ToxicityModel.load(tmp_path)
